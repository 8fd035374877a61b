// SPDX-License-Identifier: Apache-2.0

package session

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/stream"
	"github.com/phasetrace/phasetrace/internal/testenv"
	"github.com/phasetrace/phasetrace/internal/usdt"
)

const tracefs = "/sys/kernel/tracing/"

// plantProbe puts a probe of another tracer under the first site of a probe of our
// markers, where phasetrace has its own, without the marker's counter, and returns
// the probe's name.
func plantProbe(t *testing.T, file, of string) (name string) {
	t.Helper()
	testenv.BPF(t)
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size, _ := f.Seek(0, io.SeekEnd)
	elf, err := usdt.Read(f, size)
	if err != nil {
		t.Fatal(err)
	}
	var offset uint64
	for _, s := range elf.Sites {
		if s.Name == of && offset == 0 {
			offset, _ = testenv.Without(t).Rewriting().Place(s.Offset, s.Nop)
		}
	}
	group := fmt.Sprintf("phasetrace_test_%d", os.Getpid())
	write := func(to, text string, flags int) {
		t.Helper()
		f, err := os.OpenFile(tracefs+to, os.O_WRONLY|flags, 0)
		if err == nil {
			_, err = f.WriteString(text)
			f.Close()
		}
		if err != nil {
			t.Fatalf("%s to %s: %v", text, to, err)
		}
	}
	write("uprobe_events", fmt.Sprintf("p:%s/rival %s:%#x", group, file, offset), os.O_APPEND)
	t.Cleanup(func() { write("uprobe_events", "-:"+group+"/rival", os.O_APPEND) })
	write("events/"+group+"/rival/enable", "1", 0)
	t.Cleanup(func() { write("events/"+group+"/rival/enable", "0", 0) })
	return group + "/rival"
}

// Another tracer has a probe at one of many sites of a marker, and none of the
// marker's counter: the site is attached like the others, which keep it enabled.
func TestRivalAtOneSite(t *testing.T) {
	for _, m := range []struct {
		name    string
		without loader.Without
		sites   int
	}{
		{"native", loader.Without{}, 100},
		{"no-uprobe-multi", loader.Without{UprobeMulti: true}, 10}, // each takes a tenth of a second to detach
	} {
		t.Run(m.name, func(t *testing.T) {
			file := fixture.Build(t, "sites.c", fmt.Sprintf("-DSITES=%d", m.sites))
			rival := plantProbe(t, file, "enter")
			p := fixture.Start(t, file)
			p.Expect("ready")
			told := newMessages()
			tr := attach(t, []int{p.Pid()}, Config{Without: m.without, Message: told.add})
			links := tr.session.watcher.tracer.Links()
			p.WriteLine("go")
			p.Expect(fmt.Sprintf("done %d", m.sites))
			p.WaitOK()
			sum := tr.wait()
			if len(sum.Paths) != m.sites || sum.Orphans != 0 || len(sum.ZeroSites) != 0 || len(sum.Notes) != 0 {
				t.Errorf("%d paths, %d orphans, never hit %v, notes %v; want all %d paths and nothing else",
					len(sum.Paths), sum.Orphans, sum.ZeroSites, sum.Notes, m.sites)
			}
			told.await(t, "another tracer (event "+rival+" of ", 1)
			// In halves, the one site is found in few steps; the linker has one too.
			if links > 20 && tr.session.watcher.tracer.Features().UprobeMulti {
				t.Errorf("%d links for %d sites", links, 2*m.sites)
			}
		})
	}
}

// Another tracer has a probe at the only site of a marker: it is said that the
// marker stays disabled, and nobody is blamed for the exits.
func TestRivalAtOnlySite(t *testing.T) {
	file := fixture.Build(t, "phases.c")
	rival := plantProbe(t, file, "enter")
	p := fixture.Start(t, file, "1", "3", "1", "0")
	p.Expect("ready")
	told := newMessages()
	tr := attach(t, []int{p.Pid()}, Config{Message: told.add})
	p.WriteLine("go")
	p.ReadAll()
	p.WaitOK()
	sum := tr.wait()
	said := told.await(t, "another tracer (event "+rival+" of ", 1)
	if !strings.Contains(said, "phasetrace:enter at ") || !strings.Contains(said, "it does not fire unless that tracer sees to it") {
		t.Errorf("said %q", said)
	}
	want := []stream.OrphanCount{{Reason: stream.OrphanEnterNotAttached, Count: 3}}
	if len(sum.OrphanReasons) != 1 || sum.OrphanReasons[0] != want[0] || sum.ViolationTotal != 0 {
		t.Errorf("orphans %+v and %d violations, want %+v and none", sum.OrphanReasons, sum.ViolationTotal, want)
	}
}
