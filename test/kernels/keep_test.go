// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The log of an earlier run stands for a kernel, and says which tests it was of.
func TestKept(t *testing.T) {
	h := &harness{opts: options{logs: t.TempDir(), pkgs: "internal/a=TestGood|TestTable"}}
	k := oneMode
	path := filepath.Join(h.opts.logs, k.ID+".log")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	fresh := outcome{Kernel: kernel{ID: "fresh"}, Package: "now"}
	both := []kernel{k, fresh.Kernel}
	if all, missing := h.withKept(context.Background(), both, []outcome{fresh}); len(all) != 1 || all[0].Package != "now" || len(missing) != 1 || missing[0] != k.ID {
		t.Errorf("without a log: %+v, missing %q", all, missing)
	}
	good := console[:strings.Index(console, "@@begin native:internal/b")] + "@@log-begin\r\n@@log-end\r\n@@done\r\n"
	write(aboutLine("linux-6.1", h.opts.selection()) + "\n" + good + wallLine(90*time.Second) + "\n")
	o := (&harness{opts: options{logs: h.opts.logs}}).kept(context.Background(), k)
	if o.Package != "linux-6.1" || o.Selection != h.opts.selection() || o.Wall != 90*time.Second || len(o.Problems) > 0 || len(o.Steps) != 1 || o.Steps[0].count(passed) != 2 {
		t.Errorf("%+v", o)
	}
	if all, missing := h.withKept(context.Background(), both, []outcome{fresh}); len(all) != 2 || all[0].Package != "linux-6.1" || missing != nil {
		t.Errorf("%+v, missing %q", all, missing)
	}
	for name, text := range map[string]string{
		"other tests": aboutLine("linux-6.1", "-pkgs 'internal/b'") + "\n" + good,
		"cut off":     aboutLine("linux-6.1", h.opts.selection()) + "\n" + good[:len(good)/2],
		"no header":   good,
	} {
		write(text)
		if o := h.kept(context.Background(), k); len(o.Problems) == 0 {
			t.Errorf("%s: taken", name)
		}
	}
}
