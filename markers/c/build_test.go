// SPDX-License-Identifier: Apache-2.0

// Package c_test compiles programs with the marker header, reads the notes that
// come out, and lets programs trace themselves. It needs no privileges.
package c_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
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

// find returns the compilers of that names that are installed, the first of
// which must be: cc and c++ are what users have.
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
			t.Logf("not installed, not tried: %s", name)
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

// canLTO says whether this compiler links with -flto here: clang needs a
// linker or a plugin that may be missing.
func (c compiler) canLTO(t *testing.T) bool {
	t.Helper()
	file := filepath.Join(t.TempDir(), "lto.c")
	if err := os.WriteFile(file, []byte("int main(void) { return 0; }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := c.try(filepath.Join(t.TempDir(), "out"), "-x", "c", file, "-flto")
	if err != nil && !c.clang {
		t.Fatalf("%s cannot link with -flto: %v", c, err)
	}
	return err == nil
}

func split(flags string) []string { return strings.Fields(flags) }

// hasLinker says whether the linker that flags ask for is there.
func (c compiler) hasLinker(flags []string) bool {
	for _, f := range flags {
		if name, ok := strings.CutPrefix(f, "-fuse-ld="); ok {
			if strings.Contains(c.String(), "aarch64") {
				name = "aarch64-linux-gnu-" + name
			}
			paths := []string{"ld." + name, strings.Replace(name, "gold", "ld.gold", 1), name}
			for _, p := range paths {
				if _, err := exec.LookPath(p); err == nil {
					return true
				}
			}
			return false
		}
	}
	return true
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
