// SPDX-License-Identifier: Apache-2.0

package session

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/phasetrace/phasetrace/internal/stream"

	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/recorder"
)

// span is one phase as the traced program itself logged it.
type span struct {
	tid          int
	path, parent string
	start, end   int64
}

func readSpans(t *testing.T, lines []string) []span {
	t.Helper()
	var out []span
	for _, line := range lines {
		var s span
		var a, b uint64
		if _, err := fmt.Sscanf(line, "span %d %s %s %d %d %d %d", &s.tid, &s.path, &s.parent, &s.start, &s.end, &a, &b); err == nil {
			out = append(out, s)
		}
	}
	return out
}

// exits returns the closed scopes by thread, each thread's in order.
func exits(bs []stream.Boundary) map[int][]stream.Boundary {
	out := make(map[int][]stream.Boundary)
	for _, b := range bs {
		if b.Action == recorder.Exit {
			out[b.Thread.TID] = append(out[b.Thread.TID], b)
		}
	}
	return out
}

// compareSpans holds what was traced against what the program logged: every
// path, parent and thread, and every duration within a tolerance.
func compareSpans(t *testing.T, logged []span, traced []stream.Boundary, tolerance time.Duration) {
	t.Helper()
	byThread := exits(traced)
	next := make(map[int]int)
	var worst int64
	for _, s := range logged {
		got := byThread[s.tid]
		i := next[s.tid]
		next[s.tid]++
		if i >= len(got) {
			t.Fatalf("thread %d: phase %d (%s) was not traced", s.tid, i, s.path)
		}
		b := &got[i]
		parts := b.Path.Parts()
		if p := strings.Join(parts, "/"); p != s.path {
			t.Fatalf("thread %d phase %d: path %q, the program says %q", s.tid, i, p, s.path)
		}
		parent := "-"
		if len(parts) > 1 {
			parent = strings.Join(parts[:len(parts)-1], "/")
		}
		if parent != s.parent {
			t.Fatalf("thread %d phase %d: parent %q, the program says %q", s.tid, i, parent, s.parent)
		}
		worst = max(worst, (s.end-s.start)-b.Duration)
		if b.Duration > s.end-s.start {
			t.Fatalf("thread %d phase %d: lasted %d ns, longer than the %d ns the program measured around it", s.tid, i, b.Duration, s.end-s.start)
		}
		if b.Time > s.end || b.Time-b.Duration < s.start {
			t.Fatalf("thread %d phase %d: %d..%d lies outside the program's %d..%d", s.tid, i, b.Time-b.Duration, b.Time, s.start, s.end)
		}
	}
	for tid, got := range byThread {
		if next[tid] != len(got) {
			t.Fatalf("thread %d: %d phases traced, %d in the program", tid, len(got), next[tid])
		}
	}
	t.Logf("largest difference to the program's own durations: %v over %d phases", time.Duration(worst), len(logged))
	if tolerance > 0 && time.Duration(worst) > tolerance {
		t.Logf("beyond %v: the machine was busy", tolerance)
	}
}

func TestOwnMarkers(t *testing.T) {
	for _, c := range []struct {
		name                             string
		threads, depth, iterations, usec string
		boundaries                       uint64
	}{
		{"sleeping", "4", "3", "40", "2000", 4 * 3 * 40 * 2},
		{"100000 boundaries", "4", "3", "4167", "100", 4 * 3 * 4167 * 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := fixture.Start(t, fixture.Build(t, "phases.c"), c.threads, c.depth, c.iterations, c.usec)
			p.Expect("ready")
			tr := attach(t, []int{p.Pid()}, Config{})
			p.WriteLine("go")
			logged := readSpans(t, p.ReadAll())
			p.WaitOK()
			sum := tr.wait()
			if sum.EndReason != "target_exit" {
				t.Errorf("ended by %q, want target_exit", sum.EndReason)
			}
			if sum.Boundaries != c.boundaries || sum.Received != c.boundaries || sum.Lost != 0 {
				t.Errorf("boundaries %d, received %d, lost %d; want %d, all received", sum.Boundaries, sum.Received, sum.Lost, c.boundaries)
			}
			if sum.ViolationTotal != 0 || sum.Orphans != 0 || sum.Synthetic != 0 || len(sum.Notes) != 0 {
				t.Errorf("violations %d, orphans %d, synthetic %d, notes %v; want none", sum.ViolationTotal, sum.Orphans, sum.Synthetic, sum.Notes)
			}
			compareSpans(t, logged, tr.boundaries, time.Millisecond)
		})
	}
}
