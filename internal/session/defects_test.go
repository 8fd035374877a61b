// SPDX-License-Identifier: Apache-2.0

package session

import (
	"strings"
	"testing"

	"github.com/phasetrace/phasetrace/internal/engine"

	"github.com/phasetrace/phasetrace/internal/stream"

	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/testenv"
)

// A name on a page that the program never touched arrives whole: the marker
// faults it in. Where programs cannot, that is reported and counted.
func TestColdName(t *testing.T) {
	for _, where := range []string{"file", "section"} {
		t.Run(where, func(t *testing.T) { coldName(t, where, testenv.Without(t)) })
		t.Run(where+", without faults", func(t *testing.T) {
			without := testenv.Without(t)
			without.Sleepable = true
			coldName(t, where, without)
		})
	}
}

func coldName(t *testing.T, where string, without loader.Without) {
	testenv.BPF(t)
	features, err := loader.DetectFeatures(without)
	if err != nil {
		t.Fatal(err)
	}
	p := fixture.Start(t, fixture.Build(t, "coldname.c"), where)
	p.Expect("ready")
	tr := attach(t, []int{p.Pid()}, Config{Without: without})
	want, unreadable := "a name on a page that nobody has touched yet", 0
	kept := len(tr.session.watcher.files.constants) > 0 // then the name is read from the file
	if !features.Sleepable && (where == "file" || !kept) {
		want, unreadable = nameUnread, 1
	}
	p.WriteLine("go")
	p.Expect("present 0")
	p.ReadAll()
	p.WaitOK()
	sum := tr.wait()
	if len(tr.boundaries) == 0 {
		t.Fatal("no boundary")
	}
	if got := tr.boundaries[0].Path.Name(); got != want {
		t.Errorf("name %q, want %q", got, want)
	}
	told := 0
	for _, n := range sum.Notes {
		if strings.HasPrefix(n.What, "phase names that were") {
			told = int(n.Count)
		}
	}
	if told != unreadable {
		t.Errorf("%d unreadable names told, want %d", told, unreadable)
	}
}

// leaveMidPhase lets the fixture midphase exit what it was in, and end.
func leaveMidPhase(p *fixture.Proc) {
	p.WriteLine("exit")
	p.Expect("done")
	p.WriteLine("quit")
	p.WaitOK()
}

// What was entered before the attach ends as an orphan, not as a violation.
func TestAttachMidPhase(t *testing.T) {
	p := fixture.Start(t, fixture.Build(t, "midphase.c"), "3")
	p.ReadLine() // inside
	tr := attach(t, []int{p.Pid()}, Config{})
	leaveMidPhase(p)
	sum := tr.wait()
	if sum.Orphans != 2 || len(tr.orphans) != 2 || sum.ViolationTotal != 0 {
		t.Errorf("%d orphans, %d violations; want 2 and none", sum.Orphans, sum.ViolationTotal)
	}
	if sum.Boundaries != 6 {
		t.Errorf("%d boundaries after the orphans, want 6", sum.Boundaries)
	}
}

// One defect is one violation that names both scopes; what follows is right.
func TestMisnested(t *testing.T) {
	const defects, proper = 50, 3
	p := fixture.Start(t, fixture.Build(t, "misnest.c"), "50", "3")
	p.Expect("ready")
	tr := attach(t, []int{p.Pid()}, Config{})
	p.WriteLine("go")
	p.ReadAll()
	p.WaitOK()
	sum := tr.wait()
	if len(tr.violations) != 1 {
		t.Fatalf("%d violations told, want 1", len(tr.violations))
	}
	if sum.ViolationTotal != defects || len(sum.Violations) != 1 || sum.Violations[0].Count != defects {
		t.Errorf("%d violations counted as %+v, want one defect %d times", sum.ViolationTotal, sum.Violations, defects)
	}
	if first := sum.Violations[0].First; first.Unix != tr.violations[0].Unix || first.Unix == 0 {
		t.Errorf("the summary's Unix time is %d, the violation was told with %d", first.Unix, tr.violations[0].Unix)
	}
	v := tr.violations[0]
	if v.Err.Kind != recorder.NotLIFO || v.Err.Closing.Path.String() != "a" || v.Err.Top.Path.String() != "a / b" {
		t.Errorf("violation %v, want a closed inside a / b", v.Err)
	}
	if msg := v.Err.Error(); !strings.Contains(msg, `"a"`) || !strings.Contains(msg, `"a / b"`) {
		t.Errorf("message %q does not name both scopes", msg)
	}
	counts := make(map[string]int)
	for _, b := range tr.boundaries {
		if b.Action == recorder.Exit && b.Synthetic == stream.ReasonNone {
			counts[b.Path.String()]++
		}
		if b.Synthetic != stream.ReasonNone && (b.Synthetic != stream.ReasonUnwound || b.Path.String() != "a / b") {
			t.Errorf("synthetic %s of %s", b.Synthetic, b.Path)
		}
	}
	if counts["a"] != defects || counts["good"] != defects*proper || counts["good / nested"] != defects*proper {
		t.Errorf("phases %v, want %d a and %d good and good / nested", counts, defects, defects*proper)
	}
}

// The policy reject leaves the stack alone, as the seed does.
func TestMisnestedRejected(t *testing.T) {
	p := fixture.Start(t, fixture.Build(t, "misnest.c"), "1", "0")
	p.Expect("ready")
	tr := attach(t, []int{p.Pid()}, Config{Policy: engine.PolicyReject})
	p.WriteLine("go")
	p.ReadAll()
	p.WaitOK()
	sum := tr.wait()
	if sum.ViolationTotal != 1 {
		t.Errorf("%d violations, want 1", sum.ViolationTotal)
	}
	var last stream.Boundary
	for _, b := range tr.boundaries {
		last = b
	}
	if last.Path.String() != "a" || last.Synthetic != stream.ReasonProcessExit {
		t.Errorf("the last boundary is %s (%q), want a closed by the process's exit", last.Path, last.Synthetic)
	}
}
