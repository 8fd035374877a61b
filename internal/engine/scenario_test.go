// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/phasetrace/phasetrace/internal/engine"
	"github.com/phasetrace/phasetrace/internal/event"
	"github.com/phasetrace/phasetrace/internal/stream"
)

var update = flag.Bool("update", false, "write what the engine says, and what the kernel would have counted, into testdata")

// TestScenarios runs the files of testdata: events in, records out. Each is a
// txtar archive that begins with what it shows, and has these sections:
//
//	config      what differs from the defaults: "policy reject", "rank 3"
//	sites       pairs and their sites, by number (scenario_sites_test.go)
//	events      events in their text form, and what a session calls; see play
//	want        the records that come of it (scenario_records_test.go)
//	violations  by hand: the defects that must be found, or "none"
//	stats       counts that must hold, by their names in engine.Stats
//
// With -update, want and stats become what the engine says. Violations never
// do: what is wrong with a program is for a person to say.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			archive, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			s := newScenario(t, archive)
			s.run()
			if *update {
				if err := os.WriteFile(path, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// scenario is one file and the engine that it is played to.
type scenario struct {
	t       *testing.T
	archive *txtar.Archive
	sites   []*engine.Site
	kernel  kernel
	engine  *engine.Engine
	said    strings.Builder // what came of it, one record a line
}

func newScenario(t *testing.T, archive *txtar.Archive) *scenario {
	t.Helper()
	if len(archive.Comment) == 0 {
		t.Error("the file does not say what it shows")
	}
	s := &scenario{t: t, archive: archive, kernel: kernel{tasks: make(map[uint32]*task)}}
	known := map[string]bool{"config": true, "sites": true, "events": true, "want": true, "violations": true, "stats": true}
	for _, f := range archive.Files {
		if !known[f.Name] {
			t.Fatalf("unknown section %q", f.Name)
		}
	}
	s.engine = engine.New(parseConfig(t, s.section("config")), s)
	s.sites = parseSites(t, s.section("sites"))
	for _, site := range s.sites {
		s.engine.AddSite(site)
	}
	return s
}

// section returns the text of a section, "" if there is none.
func (s *scenario) section(name string) string {
	for _, f := range s.archive.Files {
		if f.Name == name {
			return string(f.Data)
		}
	}
	return ""
}

// set replaces the text of a section that the file has.
func (s *scenario) set(name, text string) {
	for i := range s.archive.Files {
		if s.archive.Files[i].Name == name {
			s.archive.Files[i].Data = []byte(text)
		}
	}
}

// Record takes what the engine says.
func (s *scenario) Record(r stream.Record) {
	s.said.WriteString(recordText(r))
	s.said.WriteByte('\n')
}

func (s *scenario) run() {
	var events strings.Builder
	for line := range strings.Lines(s.section("events")) {
		events.WriteString(s.play(strings.TrimSuffix(line, "\n")))
		events.WriteByte('\n')
	}
	stats := s.stats()
	if *update {
		s.set("events", events.String())
		s.set("want", s.said.String())
		s.set("stats", stats)
	}
	s.compare("events", events.String(), "these are not what a kernel would have sent: -update corrects them")
	s.compare("want", s.said.String(), "the engine says something else")
	s.compare("violations", violations(s.engine.Violations()), "the defects that were found are others")
	s.compare("stats", stats, "the engine counts otherwise")
	if st := s.engine.Stats(); st.Internal() != 0 {
		s.t.Errorf("the engine mishandled %d events: %+v", st.Internal(), st)
	}
}

// compare holds a section against what it should be, line by line.
func (s *scenario) compare(name, got, what string) {
	s.t.Helper()
	want := strings.Split(s.section(name), "\n")
	if diff := cmp.Diff(want, strings.Split(got, "\n")); diff != "" {
		s.t.Errorf("%s: %s (-file +found):\n%s", name, what, diff)
	}
}

// play plays one line of the section events and returns it as it should be:
//
//	# a remark
//	12 enter tid=11 pid=10 …       an event
//	lost 12 enter tid=11 pid=10 …  an event that happened, and did not arrive
//	! attached time=5 sites=0,1    a call of the session; see call
func (s *scenario) play(line string) string {
	s.t.Helper()
	switch {
	case line == "", line[0] == '#':
		return line
	case line[0] == '!':
		s.call(line)
		return line
	}
	text, lost := strings.CutPrefix(line, "lost ")
	ev, err := event.Parse(text)
	if err != nil {
		s.t.Fatal(err)
	}
	s.kernel.count(s.t, s.sites, ev, !lost)
	if lost {
		return "lost " + eventText(s.t, ev)
	}
	s.engine.Begin()
	s.engine.Handle(ev)
	s.engine.End()
	return eventText(s.t, ev)
}

func eventText(t *testing.T, ev event.Event) string {
	t.Helper()
	text, err := event.Append(nil, ev)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// stats returns the section of that name with the engine's counts.
func (s *scenario) stats() string {
	var b strings.Builder
	counts := reflect.ValueOf(s.engine.Stats())
	for line := range strings.Lines(s.section("stats")) {
		name, _, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		count := counts.FieldByName(name)
		if !count.IsValid() || !count.CanUint() {
			s.t.Fatalf("engine.Stats has no count %q", name)
		}
		fmt.Fprintln(&b, name, strconv.FormatUint(count.Uint(), 10))
	}
	return b.String()
}
