// SPDX-License-Identifier: Apache-2.0

// Package c_test compiles programs with the marker header, reads the notes that
// come out, and lets programs trace themselves. It needs no privileges.
package c_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/phasetrace/phasetrace/internal/testenv"
)

var warnings = []string{"-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Wsign-conversion",
	"-Wcast-qual", "-Wundef", "-Wmissing-declarations", "-Wredundant-decls", "-Werror"}

var cppWarnings = []string{"-Wold-style-cast", "-Wzero-as-null-pointer-constant"}

// compiler is one that is installed here.
type compiler struct {
	path  string
	clang bool
	arch  string // as runtime.GOARCH
}

// find returns the compilers of those names that are installed, the first of
// which must be: cc and c++ are what users have. One that is missing is a
// subtest that is skipped.
func find(t *testing.T, names ...string) []compiler {
	t.Helper()
	var found []compiler
	seen := map[string]bool{}
	for i, name := range names {
		path, err := exec.LookPath(name)
		if err != nil {
			if i == 0 {
				t.Fatalf("no %s: install a C and a C++ compiler", name)
			}
			t.Run(name, func(t *testing.T) { testenv.Require(t, false, "no "+name+": install it") })
			continue
		}
		if real, err := filepath.EvalSymlinks(path); err == nil && seen[real] {
			continue // cc is one of the others
		} else if err == nil {
			seen[real] = true
		}
		arch := runtime.GOARCH
		if strings.HasPrefix(name, "aarch64") {
			arch = "arm64"
		}
		found = append(found, compiler{path: path, clang: strings.HasPrefix(name, "clang"), arch: arch})
	}
	return found
}

func cCompilers(t *testing.T) []compiler {
	return find(t, "cc", "gcc", "clang", "aarch64-linux-gnu-gcc")
}

func cppCompilers(t *testing.T) []compiler {
	return find(t, "c++", "g++", "clang++", "aarch64-linux-gnu-g++")
}

// native leaves compilers whose programs run here.
func native(all []compiler) []compiler {
	var found []compiler
	for _, c := range all {
		if c.arch == runtime.GOARCH {
			found = append(found, c)
		}
	}
	return found
}

func (c compiler) String() string { return filepath.Base(c.path) }

// run compiles the arguments, paths under testdata for names without a slash,
// and returns the path of the result.
func (c compiler) run(t *testing.T, args ...string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out")
	text, err := c.try(out, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", c, strings.Join(args, " "), err, text)
	}
	return out
}

func (c compiler) try(out string, args ...string) (string, error) {
	full := []string{"-I", ".", "-I", "testdata", "-o", out}
	for _, a := range args {
		if !strings.HasPrefix(a, "-") && !strings.Contains(a, "/") && strings.Contains(a, ".") {
			a = filepath.Join("testdata", a)
		}
		full = append(full, a)
	}
	cmd := exec.Command(c.path, full...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	text, err := cmd.CombinedOutput()
	return string(text), err
}

func split(flags string) []string { return strings.Fields(flags) }

// flags are a set's for this compiler. clang links what it optimises at link
// time with its own linker: GNU ld needs a plugin for that.
func (c compiler) flags(set string) []string {
	flags := split(set)
	if c.clang && slices.Contains(flags, "-flto") {
		flags = append(flags, "-fuse-ld=lld")
	}
	return flags
}

// linker is what flags ask for by -fuse-ld, "" for the compiler's default.
func linker(flags []string) string {
	for _, f := range flags {
		if name, ok := strings.CutPrefix(f, "-fuse-ld="); ok {
			return name
		}
	}
	return ""
}

// forArch are flags that let a cross compiler find a linker that serves all
// architectures under one name; gcc looks for one with its own prefix.
func (c compiler) forArch(t *testing.T, flags []string) []string {
	t.Helper()
	name := linker(flags)
	if c.arch == runtime.GOARCH || name != "lld" && name != "mold" {
		return nil
	}
	path, err := exec.LookPath("ld." + name)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(path, filepath.Join(dir, "ld."+name)); err != nil {
		t.Fatal(err)
	}
	return []string{"-B" + dir}
}

// needLinker skips a test whose flags ask for a linker that is missing.
func (c compiler) needLinker(t *testing.T, flags []string) {
	t.Helper()
	name := linker(flags)
	if name == "" {
		return
	}
	program := "ld." + name
	if c.arch == "arm64" && runtime.GOARCH != "arm64" && name == "gold" {
		program = "aarch64-linux-gnu-ld.gold"
	}
	_, err := exec.LookPath(program)
	pkg := name
	if name == "gold" {
		pkg = "binutils"
	}
	testenv.Require(t, err == nil, "no "+program+": install "+pkg)
}

// snippet writes a source file that includes the header and returns its path.
func snippet(t *testing.T, ext, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "snippet."+ext)
	if err := os.WriteFile(file, []byte("#include \"phasetrace.h\"\n"+text), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}
