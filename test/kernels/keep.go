// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"
)

// A whole matrix takes hours, so that it can be run in parts: a kernel's log is
// its console between two lines of the harness, which say the rest of an outcome.

// aboutLine begins a log: the kernel's package, and which tests were chosen.
func aboutLine(pkg, selection string) string { return fmt.Sprintf("@@about %s %s", pkg, selection) }

var aboutForm = regexp.MustCompile(`^@@about (\S+) (?:-pkgs '([^']*)' ?)?(?:-run '([^']*)')?\r?$`)

// wallLine ends it.
func wallLine(d time.Duration) string { return fmt.Sprintf("@@wall %s", d.Round(time.Millisecond)) }

// withKept returns the outcomes of kernels, in their order: those that have just
// been found, and for the others those of their logs. missing are the kernels that
// have none.
func (h *harness) withKept(ctx context.Context, kernels []kernel, fresh []outcome) (all []outcome, missing []string) {
	for _, k := range kernels {
		if i := slices.IndexFunc(fresh, func(o outcome) bool { return o.Kernel.ID == k.ID }); i >= 0 {
			all = append(all, fresh[i])
		} else if o := h.kept(ctx, k); o != nil {
			all = append(all, *o)
		} else {
			missing = append(missing, k.ID)
		}
	}
	return all, missing
}

// kept is the outcome of a kernel's log, nil if it has none.
func (h *harness) kept(ctx context.Context, k kernel) *outcome {
	o := &outcome{Kernel: k, Log: filepath.Join(h.opts.logs, k.ID+".log")}
	log, err := os.ReadFile(o.Log)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		o.Problems = []string{err.Error()}
		return o
	}
	first, console, _ := bytes.Cut(log, []byte("\n"))
	about := aboutForm.FindStringSubmatch(string(first))
	if about == nil {
		o.Problems = []string{fmt.Sprintf("%s does not say of what it is: run this kernel again", o.Log)}
		return o
	}
	chosen := options{pkgs: about[2], run: about[3]}
	o.Package, o.Selection = about[1], chosen.selection()
	if at := bytes.LastIndex(console, []byte("@@wall ")); at >= 0 {
		// A log that was cut off has none, which is told by what is missing there.
		o.Wall, _ = time.ParseDuration(string(bytes.TrimSpace(console[at+len("@@wall "):])))
	}
	o.judge(ctx, console, planOf(chosen.packages(), k))
	return o
}
