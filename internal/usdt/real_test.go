// SPDX-License-Identifier: Apache-2.0

package usdt

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/phasetrace/phasetrace/internal/probe"

	"github.com/google/go-cmp/cmp"
)

// realPrograms are where Debian and others install the programs whose probes
// testdata/probes lists.
var realPrograms = map[string][]string{
	"postgresql-15": {"/usr/lib/postgresql/15/bin/postgres"},
	"openjdk-17":    {"/usr/lib/jvm/java-17-openjdk-*/lib/server/libjvm.so"},
	"python-3.11":   {"/usr/bin/python3.11"},
	"ruby-3.1":      {"/usr/lib/*/libruby-3.1.so.3.1.*"},
	"php-8.2":       {"/usr/bin/php8.2"},
	"libstdcxx":     {"/usr/lib/*/libstdc++.so.6.*[0-9]"},
}

func find(patterns []string) string {
	for _, p := range patterns {
		if found, _ := filepath.Glob(p); len(found) > 0 {
			return found[0]
		}
	}
	return ""
}

// TestRealPrograms reads what is installed: every argument is decoded, the
// probes are those of the committed list, and readelf says the same of each
// site.
func TestRealPrograms(t *testing.T) {
	read := 0
	for name, patterns := range realPrograms {
		path := find(patterns)
		if path == "" {
			continue // TestPostgreSQL insists on one; CI need not have all
		}
		read++
		t.Run(name, func(t *testing.T) {
			f := readFile(t, path)
			if len(f.Problems) > 0 {
				t.Errorf("problems: %v", f.Problems)
			}
			probes := map[string]bool{}
			for _, s := range f.Sites {
				probes[s.probe()] = true
				if s.Nop != probe.Nop1 && s.Nop != probe.NopARM {
					t.Errorf("%s: %v under it", s.probe(), s.Nop)
				}
				for _, a := range s.Args {
					if a.Err != nil {
						t.Errorf("%s: %v", s.probe(), a.Err)
					}
				}
			}
			for _, s := range goldenProbes(t, "testdata/probes/"+name+".txt") {
				if !probes[s.probe()] {
					t.Errorf("no probe %s", s.probe())
				}
			}
			compareReadelf(t, path, f)
		})
	}
	if read == 0 {
		need(t, "none of the programs is installed")
	}
}

// compareReadelf compares with the notes as binutils prints them. Its
// addresses are not corrected by the base, which is right for files that were
// not prelinked.
func compareReadelf(t *testing.T, path string, f *File) {
	t.Helper()
	out, err := exec.Command("readelf", "-n", path).Output()
	if err != nil {
		need(t, "readelf: %v: install binutils", err)
	}
	var want, got []string
	var provider, name, at string
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		if v, ok := strings.CutPrefix(line, "Provider: "); ok {
			provider = v
		} else if v, ok := strings.CutPrefix(line, "Name: "); ok {
			name = v
		} else if strings.HasPrefix(line, "Location: ") {
			var location, base, semaphore uint64
			if _, err := fmt.Sscanf(line, "Location: %v, Base: %v, Semaphore: %v", &location, &base, &semaphore); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			at = fmt.Sprintf("%#x %#x", location, semaphore)
		} else if v, ok := strings.CutPrefix(line, "Arguments:"); ok {
			want = append(want, fmt.Sprintf("%s:%s %s %s", provider, name, at, strings.TrimSpace(v)))
		}
	}
	for _, s := range f.Sites {
		got = append(got, fmt.Sprintf("%s %#x %#x %s", s.probe(), s.Location, s.Semaphore, strings.TrimSpace(s.ArgText)))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("readelf (-) and Read (+) differ:\n%s", diff)
	}
}

// TestPostgreSQL: the file that other tracers refuse.
func TestPostgreSQL(t *testing.T) {
	path := find(realPrograms["postgresql-15"])
	if path == "" {
		need(t, "PostgreSQL 15 is not installed")
	}
	f := readFile(t, path)
	names := map[string]bool{}
	for _, s := range f.Sites {
		names[s.Name] = true
		if s.RefCtr == 0 {
			t.Errorf("%s has no semaphore", s.Name)
		}
	}
	if len(names) != 57 {
		t.Errorf("%d probe names, want 57", len(names))
	}
	if !f.PIE || f.Static || f.Interp == "" || f.BuildID == "" || !slices.Contains(f.Needed, "libc.so.6") {
		t.Errorf("linkage: %+v", f)
	}
	i := slices.IndexFunc(f.Sites, func(s Site) bool { return s.Name == "checkpoint__done" })
	if i < 0 {
		t.Fatal("no checkpoint__done")
	}
	// CheckpointStats.ckpt_bufs_written and the three after it are ints in a
	// row; NBuffers is a variable of its own.
	args := f.Sites[i].Args
	if len(args) != 5 {
		t.Fatalf("arguments: %+v", args)
	}
	for j, a := range args {
		if a.Kind != probe.OperandSym || a.Size != 4 || !a.Signed {
			t.Errorf("%q is %+v", a.Text, a)
		}
		if strings.Contains(a.Text, "+CheckpointStats(%rip)") {
			offset := uint64(0)
			fmt.Sscanf(a.Text, "-4@%d+", &offset)
			if a.Addr-offset != args[0].Addr-40 {
				t.Errorf("argument %d: %q at %#x, CheckpointStats is at %#x", j, a.Text, a.Addr, args[0].Addr-40)
			}
		}
	}
}

// TestPostgreSQLSymbols: the functions and variables that its pairs name are there, and
// the sites of the notes are those that [Read] finds.
func TestPostgreSQLSymbols(t *testing.T) {
	path := find(realPrograms["postgresql-15"])
	if path == "" {
		need(t, "PostgreSQL 15 is not installed")
	}
	r, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	info, err := r.Stat()
	if err != nil {
		t.Fatal(err)
	}
	f, err := ReadFor(r, info.Size(), nil)
	if err != nil {
		t.Fatal(err)
	}
	notes := len(readFile(t, path).Sites)
	for _, c := range Choose(f.Sites, nil) {
		if missing := c.MissingFunctions(f.Sites); c.Pair.Provider == "postgresql" && len(missing) > 0 {
			t.Errorf("%s: no function %q", c.Pair, missing)
		}
		for _, a := range c.Pair.Attrs {
			if a.Variable != "" && f.Sites[0].Variables[a.Variable] == 0 {
				t.Errorf("%s: no variable %s", c.Pair, a.Variable)
			}
		}
	}
	functions := f.Sites[notes:]
	if len(functions) != 1 || functions[0].Name != "PortalErrorCleanup()" || !functions[0].IsFunction() || functions[0].Offset == 0 {
		t.Errorf("behind the %d sites of the notes: %+v; want PortalErrorCleanup", notes, functions)
	}
}

func BenchmarkRead(b *testing.B) {
	for _, name := range []string{"postgresql-15", "openjdk-17"} {
		path := find(realPrograms[name])
		if path == "" {
			continue
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				benchmarkRead(b, path)
			}
		})
	}
}

func benchmarkRead(b *testing.B, path string) {
	r, err := os.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	info, err := r.Stat()
	if err != nil {
		b.Fatal(err)
	}
	if _, err := Read(r, info.Size()); err != nil {
		b.Fatal(err)
	}
}
