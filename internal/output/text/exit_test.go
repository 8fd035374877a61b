// SPDX-License-Identifier: Apache-2.0

package text

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/phasetrace/phasetrace/internal/output/outputtest"
	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// An exit shows what its marker tells, and no duration where none is known.
func TestExit(t *testing.T) {
	s := outputtest.Typical()
	for _, test := range []struct {
		doubt stream.Doubt
		why   stream.Reason
		want  []string
		not   string
	}{
		{stream.DoubtNone, stream.ReasonNone, []string{"1.23 s", `rc=-2 error="no \"disk\""`}, "not known"},
		{stream.DoubtOverlapping, stream.ReasonNone, []string{"  ?  ", "duration not known: this exit has the arguments of another open phase", "rc=-2"}, "1.23 s"},
		{stream.DoubtKeyReused, stream.ReasonKeyReused, []string{"  ?  ", "duration not known: its key was used again while it was open"}, "by phasetrace"},
		{"a new one", stream.ReasonNone, []string{"duration not known: a new one"}, "1.23 s"},
	} {
		var out bytes.Buffer
		sink := New(&out, "test", Options{})
		if err := sink.Start(&s.Start); err != nil {
			t.Fatal(err)
		}
		for _, r := range s.Records {
			b, ok := r.(*stream.Boundary)
			if !ok || b.Action != recorder.Exit {
				continue
			}
			c := *b
			c.Duration, c.Doubt, c.Synthetic = int64(1234*time.Millisecond), test.doubt, test.why
			c.ExitAttributes = []byte(`{"rc":-2,"error":"no \"disk\""}`)
			if err := sink.Record(&c); err != nil {
				t.Fatal(err)
			}
			break
		}
		if err := sink.Flush(); err != nil {
			t.Fatal(err)
		}
		for _, want := range test.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("doubt %q: no %q in\n%s", test.doubt, want, out.String())
			}
		}
		if strings.Contains(out.String(), test.not) {
			t.Errorf("doubt %q: %q in\n%s", test.doubt, test.not, out.String())
		}
	}
}

// Where no enters come, exits tell what enters do: attributes of both, and the lane.
func TestExitsOnly(t *testing.T) {
	for _, test := range []struct{ enter, exit, want string }{
		{`{"sql":"select 1"}`, `{"rc":0}`, `  lane=tx  sql="select 1" rc=0`},
		{`{"sql":"select 1"}`, ``, `  sql="select 1"`},
		{``, `{"rc":0}`, `  rc=0`},
		{`{}`, `{"rc":0}`, `  rc=0`},
		{`{"a":1}`, `{}`, `  a=1`},
	} {
		paths := recorder.NewPaths(recorder.Limits{})
		path, _, err := paths.Child(nil, "query")
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		sink := New(&out, "test", Options{ExitsOnly: true})
		b := &stream.Boundary{ExitAttributes: []byte(test.exit), Duration: 1000}
		b.Action, b.Path, b.Attributes, b.Lane = recorder.Exit, path, []byte(test.enter), "tx"
		if err := sink.Record(b); err != nil {
			t.Fatal(err)
		}
		if err := sink.Flush(); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(out.String(), test.want) {
			t.Errorf("%s and %s: no %q in\n%s", test.enter, test.exit, test.want, out.String())
		}
	}
}

// Who looks for some boundaries is not told of processes that come and go as they
// should, only of those that do not.
func TestChosenProcesses(t *testing.T) {
	process := &stream.Process{PID: 7, Comm: "postgres"}
	titled := &stream.Process{PID: 7, Comm: "postgres", Title: "postgres: app"}
	changes := map[string]*stream.ProcessChange{
		"started":             {Process: process, Started: true},
		"is postgres: app":    {Process: titled, Titled: true},
		"ended with status 0": {Process: titled, HasExit: true},
		"ended with status 1": {Process: titled, HasExit: true, ExitCode: 1 << 8},
		"ended by signal 9":   {Process: titled, HasExit: true, ExitCode: 9},
		"in query":            {Process: titled, HasExit: true, In: []string{"query"}},
		"no longer traced":    {Process: titled, Removed: true},
	}
	told := []string{"ended with status 1", "ended by signal 9", "in query", "no longer traced"}
	for _, chosen := range []bool{false, true} {
		for want, change := range changes {
			var out bytes.Buffer
			sink := New(&out, "test", Options{Chosen: chosen})
			if err := sink.Record(change); err != nil {
				t.Fatal(err)
			}
			if err := sink.Flush(); err != nil {
				t.Fatal(err)
			}
			if got, is := strings.Contains(out.String(), want), !chosen || slices.Contains(told, want); got != is {
				t.Errorf("with boundaries chosen: %v, %q is told: %v, want %v", chosen, want, got, is)
			}
		}
	}
}
