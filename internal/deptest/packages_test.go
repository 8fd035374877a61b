// SPDX-License-Identifier: Apache-2.0

package deptest

import (
	"go/build"
	"go/parser"
	"go/token"
	"maps"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const page = "../../docs/architecture.md"

// row is a row of a table of packages: name, job, and what it must not know.
var row = regexp.MustCompile("(?m)^\\| `([a-z0-9/]+)` \\| .+ \\| (.+) \\|$")

// Every package below internal/ is in the tables of the architecture page, which
// name no other, and give the same reasons as the rules.
func TestPackagesAreInTheTable(t *testing.T) {
	table := make(map[string]string)
	for _, m := range row.FindAllStringSubmatch(read(t, page), -1) {
		if _, twice := table[m[1]]; twice {
			t.Errorf("%s is in the table twice", m[1])
		}
		table[m[1]] = m[2]
	}
	there := packages(t)
	for _, p := range there {
		if _, ok := table[p]; !ok && strings.HasPrefix(p, "internal/") {
			t.Errorf("%s is not in the tables of %s", p, page)
		}
	}
	for _, p := range slices.Sorted(maps.Keys(table)) {
		if !slices.Contains(there, p) {
			t.Errorf("%s names %s, which is no package", page, p)
		}
	}
	ruled := make(map[string]bool)
	for _, r := range slices.Concat(rules, direct) {
		if !ruled[r.from] && table[r.from] != r.reason {
			t.Errorf("%s must not know, says the rule: %s\nthe page: %s", r.from, r.reason, table[r.from])
		}
		ruled[r.from] = true
	}
}

// Every package below internal/ says in its comment what it knows, or must not.
func TestPackageComments(t *testing.T) {
	for _, p := range packages(t) {
		if text := comment(t, filepath.Join("..", "..", p)); strings.HasPrefix(p, "internal/") && !strings.Contains(text, "know") {
			t.Errorf("the comment of %s does not say what it knows and must not know: %q", p, text)
		}
	}
}

// packages are those of the module, named from its root.
func packages(t *testing.T) (names []string) {
	t.Helper()
	out, err := exec.Command("go", "list", module+"...").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		names = append(names, strings.TrimPrefix(strings.TrimSpace(line), module))
	}
	return names
}

// comment returns the package comment of the Go files of a directory.
func comment(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, name := range files {
		if ok, err := build.Default.MatchFile(dir, filepath.Base(name)); err != nil || !ok {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments|parser.PackageClauseOnly)
		if err != nil {
			t.Fatal(err)
		}
		text.WriteString(f.Doc.Text())
	}
	return text.String()
}
