// SPDX-License-Identifier: Apache-2.0

package process

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

const (
	// prebuiltVar names a folder; its subfolder "target" holds fixtures that
	// were built before, for machines without a compiler.
	prebuiltVar = "PHASETRACE_FIXTURES"
	// prebuildVar makes the test binary build all fixtures with $CC into the
	// folder it names, and run no test.
	prebuildVar = "PHASETRACE_TARGET_PREBUILD"
)

// source is one file to compile.
type source struct {
	out   string // relative to the fixtures' folder
	from  string // file in testdata; "" for text
	text  string
	flags []string // OUT stands for the fixtures' folder
}

// sources are all fixtures, in the order in which they need each other.
var sources = []source{
	{out: "state", from: "state.c"},
	{out: "many", from: "many.c"},
	{out: "title", from: "title.c"},
	{out: "fixture", from: "fixture.c"},
	{out: "fixture.nopie", from: "fixture.c", flags: []string{"-no-pie"}},
	{out: "fixture.noseparate", from: "fixture.c", flags: []string{"-Wl,-z,noseparate-code"}},
	{out: "fixture.bigpage", from: "fixture.c", flags: []string{"-Wl,-z,max-page-size=0x200000"}},
	{out: "fixture.static", from: "fixture.c", flags: []string{"-static"}},
	{out: "one.so", text: "int f(void) { return 1; }", flags: []string{"-shared", "-fPIC"}},
	{out: "tiny.so", text: "int f(void) { return 1; }", flags: []string{"-shared", "-fPIC", "-nostdlib",
		"-Wl,-z,noseparate-code,-rpath,/a:/b,-soname,tiny"}},
	{out: "deep/libdeep.so", text: "int deep(void) { return 1; }", flags: []string{"-shared", "-fPIC"}},
	{out: "mid/libmid.so", text: "int deep(void); int mid(void) { return deep(); }", flags: []string{"-shared", "-fPIC",
		"-LOUT/deep", "-ldeep", "-Wl,--enable-new-dtags,-rpath,$ORIGIN/../deep"}},
	{out: "fixture.runpath", from: "fixture.c", flags: append(slices.Clone(needsMid), "-Wl,--enable-new-dtags,-rpath,$ORIGIN/mid")},
	{out: "fixture.rpath", from: "fixture.c", flags: append(slices.Clone(needsMid), "-Wl,--disable-new-dtags,-rpath,$ORIGIN/mid")},
	{out: "mid/libslash.so", text: "int slash(void) { return 1; }", flags: []string{"-shared", "-fPIC", "-Wl,-soname,mid/libslash.so"}},
	{out: "fixture.relative", from: "fixture.c", flags: append(slices.Clone(needsMid), "-lslash")},
}

var needsMid = []string{"-Wl,--no-as-needed", "-LOUT/mid", "-lmid", "-lm", "-Wl,-rpath-link,OUT/deep"}

func (s source) build(dir string) error {
	cc := os.Getenv("CC")
	if cc == "" {
		cc = "cc"
	}
	out := filepath.Join(dir, s.out)
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return err
	}
	args := []string{"-O1", "-Wall", "-Wextra", "-Werror", "-pthread", "-rdynamic", "-o", out, "-x", "c", "-", "-x", "none"}
	for _, f := range s.flags {
		args = append(args, strings.ReplaceAll(f, "OUT", dir))
	}
	text := []byte(s.text)
	if s.from != "" {
		var err error
		if text, err = os.ReadFile(filepath.Join("testdata", s.from)); err != nil {
			return err
		}
	}
	if !slices.Contains(s.flags, "-nostdlib") {
		args = append(args, "-ldl")
	}
	cmd := exec.Command(cc, args...)
	cmd.Stdin = strings.NewReader(string(text))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", s.out, err, out)
	}
	return nil
}

func prebuild(dir string) error {
	for _, s := range sources {
		if err := s.build(dir); err != nil {
			return err
		}
	}
	return nil
}

// built caches the fixtures of one test run.
var built struct {
	sync.Mutex
	dir  string
	made map[string]bool
}

// fixture returns the path of a fixture, which must not be changed.
func fixture(t testing.TB, out string) string {
	t.Helper()
	if dir := os.Getenv(prebuiltVar); dir != "" {
		return filepath.Join(dir, "target", out)
	}
	_, err := exec.LookPath("cc")
	need(t, err == nil || os.Getenv("CC") != "", "a C compiler (cc)")
	built.Lock()
	defer built.Unlock()
	if built.dir == "" {
		if built.dir, err = os.MkdirTemp("", "target"); err != nil {
			t.Fatal(err)
		}
		// Other users run them as well.
		if err := os.Chmod(built.dir, 0o755); err != nil {
			t.Fatal(err)
		}
		built.made = make(map[string]bool)
	}
	for _, s := range sources {
		if s.out == out || strings.HasSuffix(s.out, ".so") {
			if !built.made[s.out] {
				if err := s.build(built.dir); err != nil {
					t.Fatal(err)
				}
				built.made[s.out] = true
			}
		}
	}
	return filepath.Join(built.dir, out)
}
