// SPDX-License-Identifier: Apache-2.0

package figures

import (
	"fmt"
	"strings"
	"testing"

	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// play records what a script says: "a/b@5" is a scope of 1 ns of that path that is
// entered at 5, "orphan@7" the exit of a phase entered before the attach, or for
// "lost@7" of one whose enter may be lost.
func play(t *testing.T, f *Figures, script string) {
	t.Helper()
	paths := recorder.NewPaths(recorder.Limits{})
	for _, word := range strings.Fields(script) {
		what, when, _ := strings.Cut(word, "@")
		var at int64
		if _, err := fmt.Sscan(when, &at); err != nil {
			t.Fatal(err)
		}
		switch what {
		case "orphan":
			_ = f.Record(&stream.Orphan{Time: at, Reason: stream.OrphanBeforeAttach})
			continue
		case "lost":
			_ = f.Record(&stream.Orphan{Time: at, Reason: stream.OrphanLost})
			continue
		}
		var path *recorder.Path
		for _, name := range strings.Split(what, "/") {
			var err error
			if path, _, err = paths.Child(path, name); err != nil {
				t.Fatal(err)
			}
		}
		_ = f.Record(&stream.Boundary{Boundary: recorder.Boundary{Action: recorder.Enter, Path: path}, Time: at})
		_ = f.Record(&stream.Boundary{Boundary: recorder.Boundary{Action: recorder.Exit, Path: path}, Time: at + 1, Duration: 1, Self: 1})
	}
}

func TestJoin(t *testing.T) {
	for _, tt := range []struct{ what, script, want string }{
		{"steps of the epoch before the attach", "step@1 step/f@2 orphan@3 train@4 train/step@5 train/step/f@6", "train 1, train / step 2‡1, train / step / f 2‡1"},
		{"no orphan", "step@1 train/step@5", "step 1, train / step 1"},
		{"an orphan that proves nothing", "step@1 lost@3 train/step@5", "step 1, train / step 1"},
		{"outermost ones after it too", "step@1 orphan@3 train/step@5 step@6", "step 2, train / step 1"},
		{"two places", "step@1 orphan@3 train/step@5 eval/step@6", "step 1, train / step 1, eval / step 1"},
		{"inside itself", "step@1 step/step@2 orphan@3", "step 1, step / step 1"},
		{"one that is nowhere else", "step@1 step/f@2 orphan@3 train/step@5", "train / step 2‡1, train / step / f 1‡1"},
		{"one job in another", "step@1 orphan@3 train@4 train/step@5 orphan@6 job/train@7 job/train/step@8", "job / train 2‡1, job / train / step 3‡2"},
		{"each in the other", "a@1 b@1 a/b@1 b/a@1 orphan@2", "b 1, b / a 2‡1, b / a / b 1‡1"},
		{"deeper", "step@1 orphan@3 job/train/step@5", "job / train / step 2‡1"},
	} {
		f := New()
		play(t, f, tt.script)
		var out []string
		for _, p := range f.Paths() {
			s := fmt.Sprintf("%s %d", p.Path, p.Count)
			if p.Joined > 0 {
				s += fmt.Sprintf("‡%d", p.Joined)
			}
			out = append(out, s)
		}
		if got := strings.Join(out, ", "); got != tt.want {
			t.Errorf("%s: %s\nwant %s", tt.what, got, tt.want)
		}
		before := fmt.Sprint(f.Paths())
		if again := fmt.Sprint(f.Paths()); again != before {
			t.Errorf("%s: asked again: %s", tt.what, again)
		}
	}
}
