// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A module whose packages pass, skip, fail, and do not compile.
var module = map[string]string{
	"go.mod":     "module example.com/m\n\ngo 1.24\n",
	"good/a.go":  "package good\n",
	"none/a.go":  "package none\n",
	"bad/a.go":   "package bad\n",
	"wrong/a.go": "package wrong\n",
	"good/a_test.go": `package good
import "testing"
func TestPasses(t *testing.T) { t.Log("not shown"); print("not shown\n") }
func TestSkips(t *testing.T) {
	t.Run("one", func(t *testing.T) { t.Log("before"); t.Skip("no ld.lld: install lld") })
	t.Run("two", func(t *testing.T) { t.Parallel(); t.Skip("no ld.lld: install lld") })
	t.Run("three", func(t *testing.T) { t.SkipNow() })
}
`,
	"bad/a_test.go": `package bad
import "testing"
func TestFails(t *testing.T) {
	t.Run("this", func(t *testing.T) { t.Error("shown") })
	t.Run("that", func(t *testing.T) { t.Log("not shown") })
}
func TestSkips(t *testing.T) { t.Skip("no ld.lld: install lld") }
func TestSkipsToo(t *testing.T) { t.Skip("no ld.lld: install lld") }
`,
	"wrong/a_test.go": "package wrong\nvar x int = \"\"\n",
}

func write(t *testing.T, files map[string]string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
}

var seconds = regexp.MustCompile(`\d+\.\d+s|\(cached\)`)

// runHere runs the command in the present folder, with times left out.
func runHere(t *testing.T, args ...string) (int, []string) {
	t.Helper()
	var out, errs strings.Builder
	code := run(args, &out, &errs)
	if errs.Len() > 0 {
		t.Logf("standard error: %s", errs.String())
	}
	text := seconds.ReplaceAllString(out.String(), "TIME")
	return code, strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}

func TestSkipsAreListed(t *testing.T) {
	write(t, module)
	code, got := runHere(t, "./good")
	want := []string{
		"ok  \texample.com/m/good\tTIME",
		"",
		"skipped:",
		"  no ld.lld: install lld",
		"      example.com/m/good TestSkips/one",
		"      example.com/m/good TestSkips/two",
		"  no reason given",
		"      example.com/m/good TestSkips/three",
	}
	if diff := cmp.Diff(want, got); diff != "" || code != 0 {
		t.Errorf("status %d (-want +got):\n%s", code, diff)
	}
}

func TestFailuresAreShown(t *testing.T) {
	write(t, module)
	code, got := runHere(t, "-p=1", "./bad", "./good")
	want := []string{
		"    a_test.go:4: shown",
		"--- FAIL: TestFails/this (TIME)",
		"--- FAIL: TestFails (TIME)",
		"FAIL",
		"FAIL\texample.com/m/bad\tTIME",
		"ok  \texample.com/m/good\tTIME",
		"",
		"skipped:",
		"  no ld.lld: install lld",
		"      example.com/m/bad TestSkips",
		"      example.com/m/bad TestSkipsToo",
		"      example.com/m/good TestSkips/one",
		"      and 1 more",
		"  no reason given",
		"      example.com/m/good TestSkips/three",
	}
	if diff := cmp.Diff(want, got); diff != "" || code != 1 {
		t.Errorf("status %d (-want +got):\n%s", code, diff)
	}
}

// What does not compile is told, and the status says so.
func TestCompilerErrorsAreShown(t *testing.T) {
	write(t, module)
	code, got := runHere(t, "./wrong")
	text := strings.Join(got, "\n")
	if code == 0 || !strings.Contains(text, "cannot use") || !strings.Contains(text, "FAIL\texample.com/m/wrong [build failed]") {
		t.Errorf("status %d, output:\n%s", code, text)
	}
}

func TestNothingSkipped(t *testing.T) {
	write(t, module)
	for pkg, want := range map[string]string{
		"./good": "ok  \texample.com/m/good\tTIME",
		"./none": "?   \texample.com/m/none\t[no test files]",
	} {
		code, got := runHere(t, "-run", "TestPasses", pkg)
		if diff := cmp.Diff([]string{want}, got); diff != "" || code != 0 {
			t.Errorf("status %d (-want +got):\n%s", code, diff)
		}
	}
}
