// SPDX-License-Identifier: Apache-2.0

package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/phasetrace/phasetrace/internal/doctor"
)

// longFlag is what names a flag, of whatever program.
var longFlag = regexp.MustCompile(`(^|[^\w-])--[a-z][a-z0-9-]*`)

// otherFlags are the flags that packages may name: those of other programs, by the
// string that has them, or by the file that is all about them.
var otherFlags = map[string]string{
	"internal/doctor/dead.go":             "the options of Java's command line",
	"internal/process/linkercall.go":      "the options of dynamic linkers",
	"internal/pgtest/pgtest.go":           "the options of PostgreSQL's programs",
	"internal/gpucheck/main.go":           "it runs phasetrace as a user does",
	"internal/fixture/fixture.go":         "the options of C compilers",
	"internal/nvsample/fakenvml/build.go": "the options of C compilers",
	"internal/fixture/prebuild/main.go":   "a program of its own",
	"--pair":                              "the origin of a pair in JSON, which is a value and stays as it is",
	"the file has reached its size limit; raise it (ulimit -f), or write elsewhere": "of the shell",
	"CPython fires it only when built with --with-dtrace":                           "of CPython's configure",
	"stop its users, then run nvidia-smi --gpu-reset":                               "of nvidia-smi",
}

// Flags are named in this package alone: others return reasons, and what to do
// about them on this command line is said here.
func TestFlagsAreNamedHere(t *testing.T) {
	short := shortFlags(newRoot(&streams{in: strings.NewReader(""), out: io.Discard, err: io.Discard}))
	used := make(map[string]bool)
	for _, dir := range []string{"../../internal", "../../bpf", "../../markers"} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			file := strings.TrimPrefix(filepath.ToSlash(path), "../../")
			switch {
			case err != nil:
				return err
			case !strings.HasSuffix(file, ".go"), strings.HasSuffix(file, "_test.go"):
				return nil
			}
			for where, text := range literals(t, path) {
				if !longFlag.MatchString(text) && !short.MatchString(text) {
					continue
				}
				if otherFlags[file] != "" {
					used[file] = true
				} else if otherFlags[text] != "" {
					used[text] = true
				} else {
					t.Errorf("%s:%d names a flag: %q", file, where.Line, text)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for of, why := range otherFlags {
		if !used[of] {
			t.Errorf("nothing names flags in %q any more (%s)", of, why)
		}
	}
}

// Whatever doctor advises, this command line has a way to do it.
func TestAdviceIsComplete(t *testing.T) {
	for _, a := range doctor.Advices() {
		if doctorAdvice(a) == "" {
			t.Errorf("nothing said about %q", a)
		}
	}
}

// shortFlags matches the one-letter flags of a command and those below it.
func shortFlags(root *cobra.Command) *regexp.Regexp {
	letters := ""
	add := func(f *pflag.Flag) { letters += f.Shorthand }
	root.Flags().VisitAll(add)
	for _, c := range root.Commands() {
		c.Flags().VisitAll(add)
	}
	return regexp.MustCompile(`(^|[\s"'(])-[` + letters + `]($|[\s"'),;:])`)
}

// literals returns the string literals of a Go file, but for imports and tags.
func literals(t *testing.T, path string) map[token.Position]string {
	t.Helper()
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[token.Position]string)
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ImportSpec:
			return false
		case *ast.Field:
			n.Tag = nil
		case *ast.BasicLit:
			if n.Kind != token.STRING {
				return true
			}
			text, err := strconv.Unquote(n.Value)
			if err != nil {
				t.Fatal(err)
			}
			out[fset.Position(n.Pos())] = text
		}
		return true
	})
	return out
}
