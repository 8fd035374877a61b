// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/phasetrace/phasetrace/bench/instructions"
	"github.com/phasetrace/phasetrace/internal/fixture"
)

const (
	// committedTable is what instructions are compared with, relative to the
	// repository's root.
	committedTable = "bench/instructions.txt"
	// documentedTable shows the same, between documentBegin and documentEnd.
	documentedTable = "docs/performance.md"
	documentBegin   = "<!-- bench-instructions -->\n"
	documentEnd     = "<!-- end of bench-instructions -->\n"
	// countedKernel is the one of test/kernels that is booted.
	countedKernel = "amd64-6.12"
	// bootTimeout bounds one boot. On a machine with nothing else to do, one takes
	// half a minute.
	bootTimeout = "3m"
	// repeatable is how much a row may differ from one boot to the next.
	repeatable = 0.005
)

// tableHead explains the committed table to who opens it.
const tableHead = `# Instructions of one boundary on an emulated machine whose clock counts them, without
# the traced program's own loop: "make bench-instructions". What a row has over the floor
# (the first row) may grow by 3 %; "make bench-instructions UPDATE=1" writes this file.
`

// emulated counts instructions on an emulated machine and compares them with the
// committed table, or writes that.
func emulated(args []string, stdout, stderr io.Writer) error {
	if runtime.GOARCH != "amd64" {
		return fmt.Errorf("the emulated machine runs programs of x86-64, which are not built on %s", runtime.GOARCH)
	}
	flags := flag.NewFlagSet("bench instructions", flag.ContinueOnError)
	flags.SetOutput(stderr)
	update := flags.Bool("update", false, "write "+committedTable)
	boots := flags.Int("boots", 1, "boot this often, and fail if the boots differ by more than 0.5 %")
	if err := flags.Parse(args); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, err := os.MkdirTemp("", "phasetrace-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	guest := filepath.Join(dir, "guest")
	if err := buildGuest(ctx, dir, guest); err != nil {
		return err
	}
	var all []*instructions.Measurement
	for range max(*boots, 1) {
		fmt.Fprintln(stderr, "counting on an emulated machine, half a minute")
		m, err := bootAndCount(ctx, dir, guest, stderr)
		if err != nil {
			return err
		}
		all = append(all, m)
	}
	if err := sameEveryBoot(all, stdout); err != nil {
		return err
	}
	if *update {
		return writeTable(all[0], stdout)
	}
	return judge(all[0], stdout)
}

// buildGuest fills the folder that a guest runs: this program, the one it traces,
// and what starts them. The harness that boots the guest goes into dir.
func buildGuest(ctx context.Context, dir, guest string) error {
	for out, pkg := range map[string]string{filepath.Join(dir, "kernels"): "./test/kernels", filepath.Join(guest, "bench"): "./bench"} {
		cmd := exec.CommandContext(ctx, "go", "build", "-o", out, pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if text, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w: %s", pkg, err, text)
		}
	}
	if err := fixture.Prebuild(guest, "spin.c", nil, nil); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(guest, "run"), []byte("#!/bin/busybox sh\nexec ./bench count \"$PWD\"\n"), 0o755)
}

// bootAndCount boots the guest and reads what it measured.
func bootAndCount(ctx context.Context, dir, guest string, stderr io.Writer) (*instructions.Measurement, error) {
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, filepath.Join(dir, "kernels"),
		"-only", countedKernel, "-exec", guest, "-icount", "-timeout", bootTimeout)
	cmd.Stdout, cmd.Stderr = &out, stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("count instructions in a guest: %w\n%s", err, out.Bytes())
	}
	m, err := instructions.Parse(out.Bytes())
	if err != nil {
		return nil, fmt.Errorf("read what the guest measured: %w", err)
	}
	version, err := exec.CommandContext(ctx, "qemu-system-x86_64", "--version").Output()
	if err != nil {
		return nil, fmt.Errorf("ask the emulator for its version: %w", err)
	}
	m.Emulator, _, _ = strings.Cut(string(version), "\n")
	return m, nil
}

// sameEveryBoot prints how much several boots differ, and fails if that is too
// much to compare them with anything.
func sameEveryBoot(boots []*instructions.Measurement, stdout io.Writer) error {
	if len(boots) < 2 {
		return nil
	}
	spread := instructions.Spread(boots)
	fmt.Fprintf(stdout, "largest difference between %d boots, %% of the row\n", len(boots))
	for i, r := range boots[0].Rows {
		fmt.Fprintf(stdout, "%8.3f  %s\n", 100*spread[i], r.Name)
	}
	if most := slices.Max(spread); most > repeatable {
		return fmt.Errorf("boots differ by %.2f %%: more than %.1f %% is no ground to compare on", 100*most, 100*repeatable)
	}
	return nil
}

// writeTable makes a measurement the committed table, and puts it into the
// documentation.
func writeTable(m *instructions.Measurement, stdout io.Writer) error {
	text, err := os.ReadFile(documentedTable)
	if err != nil {
		return fmt.Errorf("read the documentation: %w: run it at the repository's root", err)
	}
	text, err = document(text, m)
	if err != nil {
		return fmt.Errorf("%s: %w", documentedTable, err)
	}
	if err := os.WriteFile(committedTable, append([]byte(tableHead), m.Format()...), 0o644); err != nil {
		return fmt.Errorf("write the table: %w", err)
	}
	if err := os.WriteFile(documentedTable, text, 0o644); err != nil {
		return fmt.Errorf("write the documentation: %w", err)
	}
	fmt.Fprintf(stdout, "%s\nwritten to %s and %s: commit both\n", m.Format(), committedTable, documentedTable)
	return nil
}

// document puts a measurement between the marks of a page.
func document(page []byte, m *instructions.Measurement) ([]byte, error) {
	before, rest, begun := bytes.Cut(page, []byte(documentBegin))
	_, after, ended := bytes.Cut(rest, []byte(documentEnd))
	if !begun || !ended {
		return nil, fmt.Errorf("no place for the table: it goes between %q and %q", documentBegin, documentEnd)
	}
	return slices.Concat(before, []byte(documentBegin), m.Markdown(), []byte(documentEnd), after), nil
}

func judge(m *instructions.Measurement, stdout io.Writer) error {
	text, err := os.ReadFile(committedTable)
	if err != nil {
		return fmt.Errorf("read the committed table: %w: run it at the repository's root", err)
	}
	committed, err := instructions.Parse(text)
	if err != nil {
		return fmt.Errorf("%s: %w", committedTable, err)
	}
	c := instructions.Compare(m, committed)
	if _, err := stdout.Write(c.Table()); err != nil {
		return err
	}
	if was := c.Elsewhere(); was != "" {
		fmt.Fprintf(stdout, "the table was made on %s: what the rows call there may differ by a few instructions\n", was)
	}
	if problem := c.Problem(); problem != "" {
		return errors.New(problem + ": if it has to be so, run make bench-instructions UPDATE=1 and commit the new table")
	}
	if shrunk := c.Shrunk(); shrunk != nil {
		fmt.Fprintf(stdout, "less than in the table: %s: make bench-instructions UPDATE=1 keeps the gain\n", strings.Join(shrunk, ", "))
	}
	return nil
}
