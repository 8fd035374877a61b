// SPDX-License-Identifier: Apache-2.0

package session

import (
	"strconv"
	"strings"
	"testing"

	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// A process has the title that it had at its first marker, however soon it ends, and
// whether the title has room among the arguments or goes on behind them.
func TestTitlesOfShortProcesses(t *testing.T) {
	const children = 20
	p := fixture.Start(t, fixture.Build(t, "titled.c"), strconv.Itoa(children), "an argument, for room")
	p.Expect("ready")
	tr := attach(t, []int{p.Pid()}, Config{Follow: true})
	p.WriteLine("go")
	p.Expect("done " + strconv.Itoa(children))
	p.WaitOK()
	tr.wait()
	number := 0
	for i := range tr.boundaries {
		b := &tr.boundaries[i]
		if b.Action != recorder.Enter {
			continue
		}
		want := "job: number " + strconv.Itoa(number)
		if number%2 == 1 {
			want += strings.Repeat(".", 111-len(want))
		}
		if got := b.Thread.Process.Title; got != want {
			t.Errorf("child %d has the title %q, want %q", number, got, want)
		}
		number++
	}
	if number != children {
		t.Errorf("%d phases, want %d", number, children)
	}
}

// A connection that is over before anybody can look at it has a title all the same: each
// of its phases is known to be of its user and database.
func TestTitlesOfShortConnections(t *testing.T) {
	server := startPostgres(t)
	tr := attach(t, []int{server.Pid()}, Config{Follow: true})
	backends := make(map[int]bool)
	for range 20 {
		w := server.Wire()
		w.Simple("select 1")
		backends[w.Backend] = true
		w.Close()
	}
	tr.stop()
	phases := 0
	for i := range tr.boundaries {
		b := &tr.boundaries[i]
		if p := b.Thread.Process; backends[p.PID] {
			phases++
			if !strings.HasPrefix(p.Title, "postgres: postgres postgres [local]") {
				t.Fatalf("%s of %s by %d, which has the title %q", b.Action, b.Path, p.PID, p.Title)
			}
		}
	}
	if phases < 20*6 {
		t.Errorf("%d boundaries of %d connections", phases, len(backends))
	}
}

// The processes of a server say what they are for, and each record has what its
// process said last.
func TestTitlesOfPostgres(t *testing.T) {
	server := startPostgres(t)
	const title = "postgres: postgres postgres [local] idle"
	told := make(chan int, 1000)
	tr := attach(t, []int{server.Pid()}, Config{Follow: true})
	tr.mu.Lock()
	tr.onProcess = func(c *stream.ProcessChange) {
		if c.Titled && c.Process.Title == title {
			told <- c.Process.PID
		}
	}
	tr.mu.Unlock()
	client := server.Connect()
	client.Do("select 1;")
	for pid := range told {
		if pid == client.Backend {
			break
		}
	}
	client.Do("select 2;")
	client.Close()
	tr.stop()
	started := make(map[string]bool)
	for _, p := range tr.start.Processes {
		started[p.Title] = true
	}
	if !started["postgres: checkpointer"] {
		t.Errorf("titles at the start: %v; want the checkpointer's among them", started)
	}
	last := ""
	for i := range tr.boundaries {
		b := &tr.boundaries[i]
		if b.Action == recorder.Enter && b.Thread.TID == client.Backend && b.Path.Name() == "query" {
			last = b.Thread.Process.Title
		}
	}
	if !strings.HasPrefix(last, "postgres: postgres postgres [local]") {
		t.Errorf("the last query is by %q", last)
	}
}
