// SPDX-License-Identifier: Apache-2.0

package session

import (
	"fmt"
	"os"
	"runtime"
	"sort"
	"testing"

	"github.com/phasetrace/phasetrace/internal/stream"

	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/testenv"
)

// account is what came of the markers of each thread.
type account struct {
	told map[int]uint64 // markers that boundaries stand for
	lost map[int]uint64
}

func (tr *tracing) account() account {
	a := account{make(map[int]uint64), make(map[int]uint64)}
	for i := range tr.boundaries {
		if b := &tr.boundaries[i]; b.Marker != nil {
			a.told[b.Thread.TID]++
		}
	}
	for _, o := range tr.orphans {
		a.told[o.Thread.TID]++
	}
	for _, l := range tr.losses {
		a.lost[l.Thread.TID] += l.Count
	}
	return a
}

// settle holds the account against what the program counted itself: every
// marker was delivered or lost, to the record, by thread and in total.
func (a account) settle(t *testing.T, sum *stream.Summary, produced map[int]uint64) {
	t.Helper()
	var total, lost uint64
	for tid, n := range produced {
		if a.told[tid]+a.lost[tid] != n {
			t.Errorf("thread %d: %d delivered and %d lost, %d were produced", tid, a.told[tid], a.lost[tid], n)
		}
		total += n
		lost += a.lost[tid]
	}
	if sum.Received+sum.Lost != total || sum.Lost != lost {
		t.Errorf("received %d and lost %d of %d; threads lost %d", sum.Received, sum.Lost, total, lost)
	}
	if sum.ViolationTotal != 0 || sum.Orphans != 0 {
		t.Errorf("%d violations (%+v) and %d orphans: a loss of ours is blamed on the program", sum.ViolationTotal, sum.Violations, sum.Orphans)
	}
	t.Logf("%d produced, %d delivered, %d lost", total, sum.Received, sum.Lost)
}

// overloaded checks that a test of losses had some, and not only losses.
func overloaded(t *testing.T, sum *stream.Summary) {
	t.Helper()
	if sum.Lost == 0 || sum.Received == 0 {
		t.Errorf("%d records lost, %d received: the test did not overload the ring", sum.Lost, sum.Received)
	}
}

// Threads at full speed into the smallest ring there is: what the program
// counted is what was delivered and lost.
func TestOverload(t *testing.T) {
	const threads, phases = 4, 100_000
	p := fixture.Start(t, fixture.Build(t, "spin.c"), fmt.Sprint(threads), fmt.Sprint(phases), "inline", "3")
	p.Expect("ready")
	tr := attach(t, []int{p.Pid()}, Config{RingBytes: os.Getpagesize()})
	p.WriteLine("go")
	produced := make(map[int]uint64)
	for range threads {
		var tid int
		var n, ns uint64
		if _, err := fmt.Sscanf(p.ReadLine(), "thread %d %d %d", &tid, &n, &ns); err != nil {
			t.Fatal(err)
		}
		produced[tid] = n
	}
	p.ReadLine() // the total
	p.Expect("again")
	p.CloseStdin()
	p.WaitOK()
	sum := tr.wait()
	tr.account().settle(t, sum, produced)
	overloaded(t, sum)
	for i := range tr.boundaries {
		b := &tr.boundaries[i]
		if b.Path.Depth() > 4 {
			t.Fatalf("%s: nothing is that deep", b.Path)
		}
	}
}

// In the same overload every phase that was delivered whole is compared with
// the program's own log: which phase, on which thread, from when to when.
func TestOverloadExact(t *testing.T) {
	for _, pages := range []int{1, 64} {
		t.Run(fmt.Sprint(pages, " pages"), func(t *testing.T) { overloaded(t, exactUnderLoss(t, pages*os.Getpagesize(), 20_000)) })
	}
}

// On a machine with four times as many busy processes as processors, the same
// holds with the usual ring, whether or not something is lost.
func TestBusyMachine(t *testing.T) {
	if testing.Short() {
		t.Skip("short: a booted test kernel is slow enough, and the kernel has no part in the account")
	}
	for range 4 * runtime.NumCPU() {
		fixture.Start(t, "/bin/sh", "-c", "while :; do :; done")
	}
	exactUnderLoss(t, 0, 5_000)
}

// exactUnderLoss traces so many rounds of a program at full speed through rings
// of that size, holds what came against the program's own account and log, and returns the
// summary.
func exactUnderLoss(t *testing.T, ringBytes, rounds int) *stream.Summary {
	t.Helper()
	const threads, depth = 4, 3
	p := fixture.Start(t, fixture.Build(t, "phases.c"), fmt.Sprint(threads), fmt.Sprint(depth), fmt.Sprint(rounds), "0")
	p.Expect("ready")
	tr := attach(t, []int{p.Pid()}, Config{RingBytes: ringBytes})
	p.WriteLine("go")
	logged := readSpans(t, p.ReadAll())
	p.WaitOK()
	sum := tr.wait()

	produced := make(map[int]uint64)
	byThread := make(map[int][]span)
	for _, s := range logged {
		produced[s.tid] += 2
		byThread[s.tid] = append(byThread[s.tid], s)
	}
	for _, spans := range byThread {
		sort.Slice(spans, func(i, j int) bool { return spans[i].start < spans[j].start })
	}
	tr.account().settle(t, sum, produced)

	exact, inGaps := 0, 0
	for i := range tr.boundaries {
		b := &tr.boundaries[i]
		if b.Action != recorder.Exit {
			continue
		}
		if b.Synthetic != stream.ReasonNone {
			inGaps++
			continue
		}
		if !logs(byThread[b.Thread.TID], b) {
			t.Fatalf("thread %d: %s from %d to %d is not in the program's log", b.Thread.TID, b.Path, b.Time-b.Duration, b.Time)
		}
		exact++
	}
	t.Logf("%d phases as the program logged them, %d with an end in a gap", exact, inGaps)
	if exact == 0 {
		t.Error("no phase came whole")
	}
	return sum
}

// logs reports whether a phase is in the log of its thread: the innermost span
// around it has its name and depth. Names of outer phases may have been lost.
func logs(spans []span, b *stream.Boundary) bool {
	start := b.Time - b.Duration
	for i := sort.Search(len(spans), func(i int) bool { return spans[i].start > start }) - 1; i >= 0; i-- {
		s := &spans[i]
		if s.end < b.Time {
			continue
		}
		var parts []string
		for q := b.Path; q != nil; q = q.Parent() {
			parts = append([]string{q.Name()}, parts...)
		}
		for depth, name := range parts {
			if name != stream.LostName && name != fmt.Sprintf("level%d", depth) {
				return false
			}
		}
		want := len(parts) - 1
		return parts[want] == fmt.Sprintf("level%d", want) && s.path[len(s.path)-len(parts[want]):] == parts[want]
	}
	return false
}

// Losses are reported where they happened: between the records before and after.
func TestLossInOrder(t *testing.T) {
	p := fixture.Start(t, fixture.Build(t, "spin.c"), "2", "50000")
	p.Expect("ready")
	last := make(map[int]int64)
	tr := attach(t, []int{p.Pid()}, Config{RingBytes: os.Getpagesize()})
	p.WriteLine("go")
	p.CloseStdin()
	p.ReadAll()
	p.WaitOK()
	tr.wait()
	for _, x := range tr.order {
		switch r := x.(type) {
		case *stream.Boundary:
			if r.Time < last[r.Thread.TID] {
				t.Fatalf("thread %d: a record of %d after one of %d", r.Thread.TID, r.Time, last[r.Thread.TID])
			}
			last[r.Thread.TID] = r.Time
		case *stream.Loss:
			if r.Time < last[r.Thread.TID] {
				t.Fatalf("thread %d: a loss before %d is told after %d", r.Thread.TID, r.Time, last[r.Thread.TID])
			}
			last[r.Thread.TID] = r.Time
		}
	}
	if len(tr.losses) == 0 {
		t.Fatal("nothing was lost")
	}
}

// A program that floods the rings loses markers of its own; one beside it, in
// the same session and on the same CPUs, loses none. Where one BPF ring buffer
// stands in, nothing is kept free for it.
func TestFloodSparesOthers(t *testing.T) {
	testenv.BPF(t)
	features, err := loader.DetectFeatures(testenv.Without(t))
	if err != nil {
		t.Fatal(err)
	}
	const pairs = 300
	phases, ring := "300000", 4<<20
	if testing.Short() { // an emulated processor fills little, and its reader takes little
		phases, ring = "20000", 1<<20
	}
	flood := fixture.Start(t, fixture.Build(t, "spin.c"), "4", phases)
	quiet := fixture.Start(t, fixture.Build(t, "pace.c"), fmt.Sprint(pairs), "500", "1500")
	flood.Expect("ready")
	quiet.Expect("ready")
	tr := attach(t, []int{flood.Pid(), quiet.Pid()}, Config{RingBytes: ring})
	flood.WriteLine("go")
	quiet.WriteLine("go")
	quiet.ReadAll()
	quiet.WaitOK()
	flood.CloseStdin()
	flood.ReadAll()
	flood.WaitOK()
	overloaded(t, tr.wait())
	if !features.CPURings || testing.Short() { // an emulated reader leaves much of the quiet one unread too
		return
	}
	told := 0
	for i := range tr.boundaries {
		if b := &tr.boundaries[i]; b.Thread.Process.PID == quiet.Pid() && b.Marker != nil {
			told++
		}
	}
	for _, l := range tr.losses {
		if l.Thread.Process.PID == quiet.Pid() {
			t.Errorf("%d markers of the quiet program lost", l.Count)
		}
	}
	if told != 2*pairs {
		t.Errorf("%d markers of the quiet program told, want %d", told, 2*pairs)
	}
}
