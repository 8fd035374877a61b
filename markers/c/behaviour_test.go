// SPDX-License-Identifier: Apache-2.0

package c_test

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// trace builds a program of testdata that traces itself, hands it its sites,
// and returns its lines with each token replaced by the order of its first
// appearance, T1, T2 and so on; token 0 stays.
func trace(t *testing.T, c compiler, args ...string) []string {
	t.Helper()
	if runtime.GOARCH != "amd64" {
		t.Skip("the programs' breakpoints are those of amd64")
	}
	path := c.run(t, append(args, "-fno-pie", "-no-pie")...)
	checkNotes(t, path)
	_, notes := readNotes(t, path)
	var sites []string
	for _, n := range notes {
		sites = append(sites, n.name, fmt.Sprintf("%x", n.location))
	}
	out, err := exec.Command(path, sites...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", c, err, out)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	tokens := map[string]string{"0": "0"}
	for i, line := range lines {
		words := strings.Fields(line)
		if words[0] != "enter" && words[0] != "exit" {
			continue
		}
		if tokens[words[1]] == "" {
			tokens[words[1]] = "T" + strconv.Itoa(len(tokens))
		}
		words[1] = tokens[words[1]]
		lines[i] = strings.Join(words, " ")
	}
	return lines
}

var runSets = []string{"-O0", "-O2", "-O2 -flto"}

func eachRun(t *testing.T, compilers []compiler, source, want string, more ...string) {
	t.Helper()
	for _, c := range native(compilers) {
		for _, set := range runSets {
			t.Run(c.String()+" "+set, func(t *testing.T) {
				flags := c.flags(set)
				c.needLinker(t, flags)
				got := trace(t, c, append(append([]string{source}, more...), flags...)...)
				if diff := cmp.Diff(strings.Split(strings.TrimSpace(want), "\n"), got); diff != "" {
					t.Errorf("lines differ (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// Untraced nothing is evaluated; traced, everything once. An exit whose enter
// was not traced is reported with token 0, and with its name if that is known.
func TestMacrosInC(t *testing.T) {
	t.Parallel()
	eachRun(t, cCompilers(t), "sequence.c", `
enabled 0
tokens 0
evaluated 0
enabled 1
exit 0 NULL
exit 0 open before
exit 0 before
enter T1 a NULL -1
enter T2 b {"k":1} -1
enter T3 c {} 7
exit T3 c
exit T2 b
exit T1 a
enter T4 guarded {"early":true} -1
enter T5 inner NULL -1
exit T5 inner
exit T4 guarded
enter T6 guarded {"early":true} -1
exit T6 guarded
evaluated 13
enter T7 ranked NULL 3
exit T7 ranked
`)
}

const scopeLines = `
exit 0 open before
exit 0 NULL
evaluated 0
enter T1 traced {} -1
exit T1 traced
enter T2 moved NULL -1
enter T3 made {"by":"function"} -1
exit T2 moved
exit T3 made
enter T4 ranked NULL 5
exit T4 ranked
`

func TestScopeInCPP(t *testing.T) {
	t.Parallel()
	eachRun(t, cppCompilers(t), "scope.cc", scopeLines+`enter T5 thrown through NULL -1
enter T6 thrown from NULL -1
exit T6 thrown from
exit T5 thrown through
`, "-std=c++11")
}

func TestScopeWithoutExceptions(t *testing.T) {
	t.Parallel()
	eachRun(t, cppCompilers(t)[:1], "scope.cc", scopeLines, "-std=c++20", "-fno-exceptions")
}

// Libraries loaded privately do not see the program's counter, nor each
// other's, and yet no token comes twice.
func TestTokensAreUnique(t *testing.T) {
	t.Parallel()
	for _, c := range native(cCompilers(t)) {
		program := c.run(t, "tokens.c", "-O2", "-pthread", "-ldl")
		var libraries []string
		for range 3 {
			libraries = append(libraries, c.run(t, "tokenlib.c", "-O2", "-shared", "-fPIC"))
		}
		out, err := exec.Command(program, libraries...).Output()
		if err != nil {
			t.Fatalf("%s: %v", c, err)
		}
		seen := map[string]bool{"0": true}
		for _, token := range strings.Fields(string(out)) {
			if seen[token] {
				t.Fatalf("%s: token %s comes twice, or is 0", c, token)
			}
			seen[token] = true
		}
		if want := 4 * 4 * 20000; len(seen)-1 != want {
			t.Errorf("%s: %d tokens, want %d", c, len(seen)-1, want)
		}
	}
}

// A program and a library it is linked with share the rank.
func TestRankIsSharedWithLinkedLibraries(t *testing.T) {
	t.Parallel()
	for _, c := range native(cCompilers(t)) {
		library := c.run(t, snippet(t, "c", "int rank_of(void);\nint rank_of(void) { return phasetrace_get_rank(); }\n"),
			"-shared", "-fPIC", "-O2")
		program := c.run(t, snippet(t, "c", `int rank_of(void);
int main(void) { if (rank_of() != -1) return 1; phasetrace_set_rank(5); return rank_of() != 5; }
`), library, "-Wl,-rpath,"+filepath.Dir(library))
		if out, err := exec.Command(program).CombinedOutput(); err != nil {
			t.Errorf("%s: the library has another rank: %v\n%s", c, err, out)
		}
	}
}
