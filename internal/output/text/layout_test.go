// SPDX-License-Identifier: Apache-2.0

package text

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/phasetrace/phasetrace/internal/output/human"
	"github.com/phasetrace/phasetrace/internal/output/outputtest"
	"github.com/phasetrace/phasetrace/internal/output/summary"
	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// one is a session of one process, whose threads make boundaries.
type one struct {
	t       *testing.T
	out     bytes.Buffer
	sink    *Sink
	rec     *recorder.Recorder
	process *stream.Process
	start   stream.Start
}

func newOne(t *testing.T, width int) *one {
	o := &one{t: t, rec: recorder.New(recorder.Limits{}), process: &stream.Process{PID: 4242, Comm: "main"}}
	o.start = stream.Start{Time: 1_000_000_000, Processes: []*stream.Process{o.process}}
	o.sink = New(&o.out, "test", Options{Width: func() int { return width }})
	if err := o.sink.Start(&o.start); err != nil {
		t.Fatal(err)
	}
	return o
}

// phase runs a phase of a thread from a time on, 1 ms long.
func (o *one) phase(time int64, tid int, thread, name, attributes string, change func(*stream.Boundary)) {
	o.t.Helper()
	t := &stream.Thread{TID: tid, Name: thread, Process: o.process}
	token, b, err := o.rec.Enter(recorder.Key{SessionID: "s", ThreadID: tid}, thread, name, []byte(attributes))
	if err != nil {
		o.t.Fatal(err)
	}
	o.record(&stream.Boundary{Boundary: b, Time: time, Thread: t}, change)
	if b, err = o.rec.Exit(token, tid); err != nil {
		o.t.Fatal(err)
	}
	o.record(&stream.Boundary{Boundary: b, Time: time + 1_000_000, Duration: 1_000_000, Thread: t}, change)
}

func (o *one) record(b *stream.Boundary, change func(*stream.Boundary)) {
	o.t.Helper()
	if change != nil {
		change(b)
	}
	if err := o.sink.Record(b); err != nil {
		o.t.Fatal(err)
	}
}

// lines are those of the stream so far.
func (o *one) lines() []string {
	o.t.Helper()
	if err := o.sink.Flush(); err != nil {
		o.t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(o.out.String(), "\n"), "\n")
}

// The lane that the engine makes up for each key is nobody's to read; that of a pair
// is told at its enters.
func TestKeyedLaneIsNotShown(t *testing.T) {
	o := newOne(t, 0)
	o.phase(1_000_000_000, 4242, "main", "request", "", func(b *stream.Boundary) {
		b.Lane, b.Keyed, b.Key = "svc:send/recv=94011", true, stream.KeyOf(94011)
	})
	o.phase(1_000_000_000, 4242, "main", "transaction", "", func(b *stream.Boundary) { b.Lane = "tx" })
	text := strings.Join(o.lines(), "\n")
	if strings.Contains(text, "94011") || strings.Count(text, "lane=") != 1 || strings.Count(text, "lane=tx") != 1 {
		t.Errorf("lanes of keys are shown, or others are not:\n%s", text)
	}
}

// No column moves because of what is in a line, and a process's id is told once.
func TestColumnsStay(t *testing.T) {
	for _, width := range []int{0, 80, 200} {
		t.Run(fmt.Sprint(width), func(t *testing.T) {
			o := newOne(t, width)
			o.phase(1_000_000_000, 4242, "main", "a", "", nil)
			o.phase(1_000_000_000, 4243, "a thread's name", "a", "", nil)
			o.phase(1_000_000_000, 4194304, "a thread's name", "a", "", nil)
			o.phase(9_000_000_000_000_000, 4243, "w", "a", "", nil)
			lines := o.lines()
			arrow, duration := column(lines[1], "->"), column(lines[2], "1.00 ms")
			if head := column(lines[0], "phase"); head != arrow {
				t.Errorf("the head is in column %d, the phase in %d:\n%s", head, arrow, lines[0])
			}
			for i := 1; i < len(lines); i += 2 {
				if column(lines[i], "->") != arrow || column(lines[i+1], "<-") != arrow || column(lines[i+1], "1.00 ms") != duration {
					t.Errorf("columns have moved:\n%s", strings.Join(lines, "\n"))
				}
			}
			if text := strings.Join(lines, "\n"); strings.Count(text, "4242") != 1 || strings.Count(text, "/4243") != 4 {
				t.Errorf("the process is not told once, or threads are not:\n%s", text)
			}
		})
	}
}

// A name gives way to the ids, which stay whole.
func TestThreads(t *testing.T) {
	process := &stream.Process{PID: 4194303}
	for _, test := range []struct {
		many  bool
		name  string
		tid   int
		width int
		want  string
	}{
		{false, "worker", 4194304, 16, "worker/4194304"},
		{false, "worker thread", 4194304, 16, "worker …/4194304"},
		{false, "worker thread", 4194303, 16, "worker thread"},
		{false, "", 4194303, 16, "4194303"},
		{false, "", 4194304, 16, "4194304"},
		{true, "", 4194303, 16, "4194303"},
		{true, "main", 4194303, 16, "4194303 main"},
		{true, "worker", 4194304, 16, "4194303 4194304"},
		{true, "worker", 4194304, 20, "4194303 wor…/4194304"},
		{true, "w", 5, 16, "4194303 w/5"},
	} {
		sink := New(io.Discard, "test", Options{})
		sink.first, sink.many = 4194303, test.many
		got := string(sink.thread(nil, &stream.Thread{TID: test.tid, Name: test.name, Process: process}, test.width))
		if got != test.want || human.Width(got) > test.width {
			t.Errorf("%+v is %q", test, got)
		}
	}
}

// Who a process of a server is can be told in its column, at 80 columns too, and the
// columns stay where they are.
func TestTitlesHaveRoom(t *testing.T) {
	titles := []string{"postgres: checkpointer", "postgres: background writer", "postgres: autovacuum worker shop", "postgres: app shop [local] UPDATE waiting"}
	for width, want := range map[int][]string{
		80:  {"checkpointer", "background writer", "autovacuum worker", "app shop [local]"},
		120: {"checkpointer", "background writer", "autovacuum worker shop", "app shop [local]"},
		0:   {"checkpointer", "background writer", "autovacuum worker shop", "app shop [local]"},
	} {
		o := newOne(t, width)
		postmaster := *o.process
		o.process = &postmaster
		for i, title := range titles {
			process := &stream.Process{PID: 25001 + i, Comm: "postgres", Title: title}
			o.start.Processes = append(o.start.Processes, process)
		}
		o.sink = New(&o.out, "test", Options{Width: func() int { return width }})
		o.out.Reset()
		if err := o.sink.Start(&o.start); err != nil {
			t.Fatal(err)
		}
		for _, p := range o.start.Processes[1:] {
			o.process = p
			o.phase(1_000_000_000, p.PID, "postgres", "execute", "", nil)
		}
		lines := o.lines()
		for i, part := range want {
			if line := lines[1+2*i]; strings.Contains(line, "UPDATE") || !strings.Contains(line, part) || column(line, "->") != column(lines[0], "phase") {
				t.Errorf("at %d columns %q has no %q, or what it did once, or its columns have moved from\n%s", width, line, part, lines[0])
			}
		}
	}
}

func column(line, what string) int {
	before, _, found := strings.Cut(line, what)
	if !found {
		return -1
	}
	return human.Width(before)
}

// Markers are hit while the last are still being attached: times are told from the
// first on.
func TestTimesFromTheFirst(t *testing.T) {
	o := newOne(t, 0)
	o.phase(998_500_000, 4242, "main", "early", "", nil) // 1.5 ms before the stream began
	o.phase(1_000_000_000, 4242, "main", "late", "", nil)
	var times []string
	for _, line := range o.lines()[1:] {
		times = append(times, strings.Fields(line)[0])
	}
	if got, want := strings.Join(times, " "), "0.000000 0.001000 0.001500 0.002500"; got != want {
		t.Errorf("times %s, want %s", got, want)
	}
}

// Strings have the room that is left, on a terminal of any width and in a file.
func TestStringsTakeTheRoom(t *testing.T) {
	sql := strings.Repeat("select ", 100)
	for width, want := range map[int]int{80: 80, 120: 120, 200: 200, 0: FileWidth} {
		o := newOne(t, width)
		o.phase(1_000_000_000, 4242, "main", "query", `{"sql":"`+sql+`"}`, nil)
		line := o.lines()[1]
		if got := human.Width(line); got != want {
			t.Errorf("at %d columns a long attribute makes a line of %d, want %d:\n%s", width, got, want, line)
		}
		if !strings.Contains(line, `-> query  sql="select `) {
			t.Errorf("the attribute does not come right after the name:\n%s", line)
		}
	}
}

// The head stands above the first line, on a terminal under what is said at the
// start; a file gets it then, so that one that cannot be written to is found out.
func TestHead(t *testing.T) {
	for width, early := range map[int]bool{0: true, 80: false} {
		o := newOne(t, width)
		if got := o.out.Len() > 0; got != early {
			t.Errorf("at %d columns the head is there at the start: %v, want %v", width, got, early)
		}
		o.phase(1_000_000_000, 4242, "main", "a", "", nil)
		o.phase(1_000_000_000, 4242, "main", "a", "", nil)
		if lines := o.lines(); !strings.HasSuffix(lines[0], "phase") || strings.Count(o.out.String(), "process 4242") != 1 {
			t.Errorf("not one head on top:\n%s", strings.Join(lines, "\n"))
		}
	}
}

// A terminal that is resized is laid out anew.
func TestResize(t *testing.T) {
	width := 80
	var out bytes.Buffer
	sink := New(&out, "test", Options{Width: func() int { return width }})
	s := outputtest.Typical()
	s.Records = s.Records[:2]
	if err := sink.Start(&s.Start); err != nil {
		t.Fatal(err)
	}
	for _, w := range []int{80, 200} {
		width = w
		if err := sink.Flush(); err != nil {
			t.Fatal(err)
		}
		out.Reset()
		if err := sink.Record(s.Records[1]); err != nil {
			t.Fatal(err)
		}
		if err := sink.Flush(); err != nil {
			t.Fatal(err)
		}
		if whole := strings.Contains(out.String(), "device_lost"); whole != (w == 200) {
			t.Errorf("at %d columns:\n%s", w, out.String())
		}
	}
}

// On a terminal of 80 columns nothing wraps, whatever goes wrong, with colours and
// without, except a file's name that has to stay whole.
func TestNothingWraps(t *testing.T) {
	for _, width := range []int{80, 100, 120, 200} {
		for _, colour := range []bool{false, true} {
			s := outputtest.Typical()
			text := render(t, s, Options{
				Summary: summary.Options{Colour: colour}, Width: func() int { return width },
			})
			for line := range strings.Lines(text) {
				if n := human.Columns([]byte(strings.TrimSuffix(line, "\n"))); n > width {
					t.Errorf("a line of %d columns, want at most %d:\n%s", n, width, line)
				}
			}
		}
	}
	s := outputtest.Hostile()
	text := render(t, s, Options{Width: func() int { return 80 }})
	for line := range strings.Lines(text) {
		if n := human.Width(strings.TrimSuffix(line, "\n")); n > 80 && len(strings.Fields(line)) > 2 {
			t.Errorf("a line of %d columns:\n%s", n, line)
		}
	}
}

// What has no room is not left out in silence: an ellipsis stands for it.
func TestNoRoomIsTold(t *testing.T) {
	o := newOne(t, 80)
	o.phase(1_000_000_000, 4242, "main", "step", "", func(b *stream.Boundary) {
		b.Resident = stream.Resident{Bytes: 3 << 30, Change: 4096, Known: true, ChangeKnown: true, Error: 1}
	})
	o.phase(1_000_000_000, 4242, "main", "a phase with a long name", "", func(b *stream.Boundary) {
		b.Resident = stream.Resident{Bytes: 3 << 30, Change: 4096, Known: true, ChangeKnown: true}
	})
	lines := o.lines()
	if !strings.HasSuffix(lines[2], "1.00 ms   rss ~+4.00 KiB") {
		t.Errorf("no short form:\n%s", lines[2])
	}
	if !strings.HasSuffix(lines[4], "1.00 ms  …") {
		t.Errorf("nothing said of what has no room:\n%s", lines[4])
	}
}

// A narrow layout allocates no more than a wide one.
func TestNarrowDoesNotAllocate(t *testing.T) {
	s := outputtest.Typical()
	sink := New(io.Discard, "test", Options{Width: func() int { return 80 }})
	if err := s.Play(sink); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() {
		for _, r := range s.Records {
			if b, ok := r.(*stream.Boundary); ok && b.Synthetic == stream.ReasonNone {
				if err := sink.Record(b); err != nil {
					t.Fatal(err)
				}
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations a session's boundaries", n)
	}
}

// However narrow the terminal, a duration has its unit.
func TestDurationIsWhole(t *testing.T) {
	for width := 44; width <= 120; width++ {
		o := newOne(t, width)
		o.phase(1_000_000_000, 4242, "main", "step", "", nil)
		o.phase(1_000_000_000, 4243, "a thread's name", "a phase with a long name", `{"sql":"select 1"}`, nil)
		exits := 0
		for _, line := range o.lines() {
			if n := human.Columns([]byte(line)); n > width {
				t.Errorf("%d columns: %d are used: %s", width, n, line)
			}
			if strings.Contains(line, "<-") {
				exits++
				if !strings.Contains(line, "1.00 ms") {
					t.Errorf("%d columns: no duration: %s", width, line)
				}
			}
		}
		if exits != 2 {
			t.Errorf("%d columns: %d exits, want 2", width, exits)
		}
	}
}
