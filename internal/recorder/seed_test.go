// SPDX-License-Identifier: Apache-2.0

package recorder

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSeedEnterPhase(t *testing.T) {
	r := New(Limits{})
	outer, err := r.EnterPhase("s", 2, 7, "main", "train", nil)
	if err != nil {
		t.Fatal(err)
	}
	inner, err := r.EnterPhase("s", 2, 7, "main", " step ", []byte(`{"n":1}`))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"train", "step"}, inner.PathParts()); d != "" || inner.ScopeID() != "s:2" || inner.ParentScopeID() != outer.ScopeID() {
		t.Errorf("%s %s %s", inner.ScopeID(), inner.ParentScopeID(), d)
	}
	if _, err := r.ExitPhase("s", 2, outer.ScopeID(), 7); !errors.Is(err, NotLIFO) {
		t.Errorf("outer first: %v", err)
	}
	if _, err := r.ExitPhase("s", 2, inner.ScopeID(), 8); !errors.Is(err, WrongThread) {
		t.Errorf("on another thread: %v", err)
	}
	for i, b := range []Boundary{inner, outer} {
		exit, err := r.ExitPhase("s", 2, b.ScopeID(), 7)
		if err != nil {
			t.Fatal(err)
		}
		want := b
		want.Action, want.Sequence = Exit, uint64(3+i)
		if d := cmp.Diff(want.Metadata(), exit.Metadata()); d != "" {
			t.Errorf("exit is not that of its enter (-want +got):\n%s", d)
		}
	}
	if _, err := r.EnterPhase("s", 2, 7, "main", "\n", nil); !errors.Is(err, ErrEmptyName) {
		t.Errorf("empty name: %v", err)
	}
}

func TestSeedHandleCallback(t *testing.T) {
	var calls []int // the threads
	fail := errors.New("not yet")
	h := NewHandle("s:1", "b", []string{"a", "b"}, func(threadID int) (Boundary, error) {
		if calls = append(calls, threadID); len(calls) == 1 {
			return Boundary{}, fail
		}
		return Boundary{Action: Exit, Sequence: 2}, nil
	})
	if _, err := h.Close(7); !errors.Is(err, fail) || h.Closed() {
		t.Errorf("failed close: %v, closed %v", err, h.Closed())
	}
	if b, err := h.Close(8); err != nil || b.Sequence != 2 || !h.Closed() {
		t.Errorf("close: %+v, %v", b, err)
	}
	if _, err := h.Close(9); err != nil || !slices.Equal(calls, []int{7, 8}) {
		t.Errorf("second close: %v after calls for the threads %v", err, calls)
	}
	if h.PhasePath() != "a / b" || h.ScopeID() != "s:1" || h.Name() != "b" {
		t.Errorf("handle %q %q %q", h.PhasePath(), h.ScopeID(), h.Name())
	}
}

// seedElements are the classes, exceptions, constructors, fields, properties and
// methods of the seed's documentation.
var seedElements = strings.Fields(`
	PhaseBoundary PhaseBoundary.event_type PhaseBoundary.context PhaseBoundary.metadata PhaseBoundary.scope_id PhaseBoundary.path
	PhaseHandle PhaseHandle() PhaseHandle.scope_id PhaseHandle.name PhaseHandle.path PhaseHandle.phase_path PhaseHandle.closed PhaseHandle.close()
	PhaseProtocolError
	PhaseRecorder PhaseRecorder() PhaseRecorder.reset() PhaseRecorder.enter() PhaseRecorder.enter_phase() PhaseRecorder.exit() PhaseRecorder.exit_phase()
	PhaseToken PhaseToken.scope_id PhaseToken.session_id PhaseToken.rank PhaseToken.thread_id PhaseToken.name
	enter_phase()`)

func TestSeedTable(t *testing.T) {
	page, err := os.ReadFile(filepath.FromSlash("../../docs/seed.md"))
	if err != nil {
		t.Fatal(err)
	}
	names := declared(t)
	code, arguments := regexp.MustCompile("`([^`]+)`"), regexp.MustCompile(`\(.*\)`)
	found := map[string]bool{}
	var table string // the head of its first column
	rows := map[string]int{}
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(strings.TrimSpace(line), " | ")
		switch {
		case len(cells) != 3:
			table = ""
			continue
		case strings.HasPrefix(cells[0], "| -"):
			continue
		case table == "":
			table = strings.TrimPrefix(cells[0], "| ")
			continue
		}
		rows[table]++
		test := code.FindStringSubmatch(cells[2])
		if test == nil || !strings.HasPrefix(test[1], "Test") || !names[test[1]] {
			t.Errorf("no test %s, for %s", cells[2], cells[0])
		}
		if table != "seed" {
			continue
		}
		element := code.FindStringSubmatch(cells[0])
		if element == nil {
			t.Errorf("no element of the seed in %s", cells[0])
			continue
		}
		found[arguments.ReplaceAllString(element[1], "()")] = true
		if name := code.FindStringSubmatch(cells[1]); name == nil || !names[name[1]] {
			t.Errorf("no %s in this package, for %s", cells[1], cells[0])
		}
	}
	for _, head := range []string{"seed", "question", "difference", "rule of attribution"} {
		if rows[head] == 0 {
			t.Errorf("the page has no table of each %s", head)
		}
	}
	for _, e := range seedElements {
		if !found[e] {
			t.Errorf("%s of the seed is not in the table", e)
		}
		delete(found, e)
	}
	for e := range found {
		t.Errorf("%s is in the table but not in the seed", e)
	}
}

// declared is the names of the package's types and functions, of methods with
// their type, and of tests.
func declared(t *testing.T) map[string]bool {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				names[receiver(d)+d.Name.Name] = true
			case *ast.GenDecl:
				for _, s := range d.Specs {
					if ts, ok := s.(*ast.TypeSpec); ok {
						names[ts.Name.Name] = true
					}
				}
			}
		}
	}
	return names
}

func receiver(d *ast.FuncDecl) string {
	if d.Recv == nil {
		return ""
	}
	typ := d.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	if id, ok := typ.(*ast.Ident); ok {
		return id.Name + "."
	}
	return ""
}
