// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/phasetrace/phasetrace/internal/fixture"
)

// bench is one run: its programs and where it prints.
type bench struct {
	options
	out, log io.Writer
	dir      string // of the built programs
}

// Programs that are traced, and their flags.
var programs = map[string]struct {
	source string
	flags  []string
}{
	"spin":      {"spin.c", nil},
	"spin-none": {"spin.c", []string{"-DPHASETRACE_DISABLE"}},
	"sites50":   {"sites.c", []string{"-DSITES=25"}},
	"sites1000": {"sites.c", []string{"-DSITES=500"}},
}

func newBench(o options, out, log io.Writer) (*bench, error) {
	dir, err := os.MkdirTemp("", "phasetrace-bench-")
	if err != nil {
		return nil, err
	}
	b := &bench{options: o, out: out, log: log, dir: dir}
	for name, p := range programs {
		if err := b.build(name, p.source, p.flags); err != nil {
			return nil, errors.Join(err, b.close())
		}
	}
	if b.binary == "" {
		b.binary = filepath.Join(dir, "phasetrace")
		cmd := exec.Command("go", "build", "-o", b.binary, "github.com/phasetrace/phasetrace/cmd/phasetrace")
		if text, err := cmd.CombinedOutput(); err != nil {
			fmt.Fprintf(log, "bench: the phasetrace command is left out: %v\n%s", err, text)
			b.binary = ""
		}
	}
	return b, nil
}

func (b *bench) build(name, source string, flags []string) error {
	into, err := os.MkdirTemp(b.dir, "build-")
	if err != nil {
		return err
	}
	if err := fixture.Prebuild(into, source, flags, nil); err != nil {
		return err
	}
	return os.Rename(filepath.Join(into, fixture.Key(source, flags...)), b.path(name))
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

func (b *bench) close() error {
	b.removePerfProbes()
	return os.RemoveAll(b.dir)
}

// machine names what the figures are of.
func machine() string {
	cpu := "unknown CPU"
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, ok := strings.CutPrefix(line, "model name"); ok {
				cpu = strings.TrimLeft(strings.TrimSpace(name), ": ")
				break
			}
		}
	}
	var u unix.Utsname
	_ = unix.Uname(&u)
	return fmt.Sprintf("%s, %d CPUs, Linux %s %s, %s", cpu, runtime.NumCPU(),
		unix.ByteSliceToString(u.Release[:]), unix.ByteSliceToString(u.Machine[:]), runtime.Version())
}
