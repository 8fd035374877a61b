// SPDX-License-Identifier: Apache-2.0

package jsonl

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/phasetrace/phasetrace/internal/figures"
	"github.com/phasetrace/phasetrace/internal/gpu"
	"github.com/phasetrace/phasetrace/internal/output/outputtest"
	"github.com/phasetrace/phasetrace/internal/output/schema"
	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
)

var sessions = map[string]func() *outputtest.Session{
	"typical":  outputtest.Typical,
	"hostile":  outputtest.Hostile,
	"random 1": func() *outputtest.Session { return outputtest.Random(1, 3000) },
	"random 2": func() *outputtest.Session { return outputtest.Random(2, 3000) },
	"grouped": func() *outputtest.Session {
		s := outputtest.Random(3, 3000)
		for _, r := range s.Records {
			if b, ok := r.(*stream.Boundary); ok {
				b.Rank = int32(b.Scope % 3)
				b.Resident = stream.Resident{} // a sum of changes without a peak is not written
			}
		}
		f := figures.NewBy(byThread)
		_ = s.Play(f) // it never fails
		f.Snapshot(&s.Summary)
		s.Summary.Grouped.Other = 7
		s.Start.Where, s.Summary.LeftOut = `rank=0 && attr.x="\n"`, 17
		s.Summary.Paths[0].Joined = 1
		first := &s.Summary.Paths[0]
		first.Groups = append(first.Groups, stream.GroupStats{Kind: stream.GroupNone}, stream.GroupStats{Kind: stream.GroupOther})
		return s
	},
	"nothing": func() *outputtest.Session {
		s := outputtest.Typical()
		s.Records, s.Summary = nil, stream.Summary{}
		return s
	},
}

var byThread, _ = figures.By("thread")

func write(t testing.TB, s *outputtest.Session) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := s.Play(New(&out, "test")); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// A session that is read back has the figures that it had, to the last digit, and
// is written as the same lines again.
func TestPlayedIsRecorded(t *testing.T) {
	for name, session := range sessions {
		t.Run(name, func(t *testing.T) {
			s := session()
			written := write(t, s)
			for line := range bytes.Lines(written) {
				if err := schema.Validate(line); err != nil {
					t.Fatalf("%v\n%s", err, line)
				}
			}
			f := figures.NewBy(byThread)
			if err := s.Play(f); err != nil {
				t.Fatal(err)
			}
			want := s.Summary
			f.Snapshot(&want)

			r, err := Replay(bytes.NewReader(written), byThread)
			if err != nil {
				t.Fatal(err)
			}
			if r.Report.Unknown+r.Report.UnknownFields != 0 || !r.Report.Ended || r.Report.Lines != uint64(len(s.Records)+2) {
				t.Errorf("report %+v", r.Report)
			}
			if diff := outputtest.DiffFigures(&want, r.Played); diff != "" {
				t.Errorf("figures (-recorded +played):\n%s", diff)
			}
			if diff := outputtest.DiffFigures(&s.Summary, r.Recorded); diff != "" {
				t.Errorf("summary (-written +read):\n%s", diff)
			}

			var again bytes.Buffer
			if _, err := Play(iotest.HalfReader(bytes.NewReader(written)), New(&again, "test")); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(again.Bytes(), written) {
				t.Errorf("written again it differs%s", firstDifference(written, again.Bytes()))
			}
		})
	}
}

func firstDifference(a, b []byte) string {
	as, bs := bytes.Split(a, []byte("\n")), bytes.Split(b, []byte("\n"))
	for i := range as {
		if i >= len(bs) || !bytes.Equal(as[i], bs[i]) {
			return fmt.Sprintf(" from line %d on:\n%s\n%s", i+1, as[i], slices.Concat(bs[i:min(i+1, len(bs))]...))
		}
	}
	return ": more lines"
}

// Records come back as they were, as far as lines tell them.
func TestPlayedRecords(t *testing.T) {
	s := outputtest.Typical()
	var got keeper
	if _, err := Play(bytes.NewReader(write(t, s)), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.records) != len(s.Records) {
		t.Fatalf("%d records, want %d", len(got.records), len(s.Records))
	}
	for i, want := range s.Records {
		options := cmp.Options{likeRecords, cmp.FilterPath(untold, cmp.Ignore()),
			cmpopts.IgnoreFields(stream.Process{}, "StartTime"), cmpopts.IgnoreFields(gpu.ProcessReading{}, "Latency")}
		if diff := cmp.Diff(want, got.records[i], options); diff != "" {
			t.Errorf("record %d (-written +read):\n%s", i, diff)
		}
	}
	start := cmp.Options{cmpopts.IgnoreFields(stream.Process{}, "StartTime")}
	if diff := cmp.Diff(&s.Start, got.start, start); diff != "" {
		t.Errorf("start (-written +read):\n%s", diff)
	}
	if diff := cmp.Diff(&s.Summary, got.end, likeRecords, cmp.FilterPath(untold, cmp.Ignore()), start); diff != "" {
		t.Errorf("end (-written +read):\n%s", diff)
	}
}

var likeRecords = cmp.Options{outputtest.SamePaths, cmpopts.EquateEmpty(), cmpopts.IgnoreUnexported(recorder.ScopeRef{})}

// untold are the fields that no line has.
func untold(p cmp.Path) bool {
	switch p.String() {
	case "Boundary.Slot", "Marker.Path", "Marker.Offset":
		return p.Index(0).Type().Elem().Name() == "Boundary"
	case "Process.HostPID":
		return true // 0, not known yet, looks as if it were the same as the PID
	}
	return strings.HasSuffix(p.String(), "Closing.Slot") || strings.HasSuffix(p.String(), "Closing.Parent") ||
		strings.HasSuffix(p.String(), "Top.Slot") || strings.HasSuffix(p.String(), "Top.Parent")
}

// keeper is a sink that keeps what it gets.
type keeper struct {
	start   *stream.Start
	records []stream.Record
	flushed int
	end     *stream.Summary
}

func (k *keeper) Start(s *stream.Start) error { k.start = s.Clone(); return nil }
func (k *keeper) Record(r stream.Record) error {
	k.records = append(k.records, stream.Clone(r))
	return nil
}
func (k *keeper) Flush() error                { k.flushed = len(k.records); return nil }
func (k *keeper) End(s *stream.Summary) error { k.end = s; return nil }

// A session whose writer was killed is read up to there.
func TestTornEnd(t *testing.T) {
	written := write(t, outputtest.Typical())
	lines := bytes.Count(written, []byte("\n"))
	var last *Replayed
	for cut := range written {
		if near := bytes.IndexByte(written[max(cut-3, 0):], '\n'); near > 6 && cut%17 != 0 {
			continue
		}
		r, err := Replay(bytes.NewReader(written[:cut]), nil)
		if cut == 0 {
			if err == nil {
				t.Error("an empty file is taken for a session")
			}
			continue
		}
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		whole := bytes.Count(written[:cut], []byte("\n"))
		torn := cut - 1 - bytes.LastIndexByte(written[:cut], '\n')
		if written[cut] == '\n' { // the line is whole, and only its end is missing
			whole, torn = whole+1, 0
		}
		if r.Report.Lines != uint64(whole) || r.Report.Torn != torn || r.Report.Ended != (whole == lines) || (r.Recorded != nil) != r.Report.Ended {
			t.Fatalf("cut at %d: %+v, want %d lines and %d bytes torn", cut, r.Report, whole, torn)
		}
		if !r.Report.Ended {
			last = r
		}
	}
	if last.Played.SessionID != "s1" || last.Played.Boundaries != 11 {
		t.Errorf("figures of a session without its end: %+v", last.Played)
	}
}

// What a later version may add is skipped and counted, wherever it stands.
func TestUnknown(t *testing.T) {
	written := write(t, outputtest.Typical())
	text := string(written)
	for _, with := range []string{`"new":1,`, `"new":{"path":["x",{}],"a":null},`, `"n\u0065w":[[]],`} {
		text = strings.Replace(text, `"scope_id":"s1:2"`, with+`"scope_id":"s1:2"`, 2)
	}
	first, rest, _ := strings.Cut(text, "\n")
	text = first + "\n" + `{"event_type":"party","timestamp_ns":1,"guests":[{"name":"x"}]}` + "\n" + `{"event_type":"party"}` + "\n" + rest
	var got keeper
	report, err := Play(strings.NewReader(text), &got)
	if err != nil {
		t.Fatal(err)
	}
	want := Report{Lines: uint64(bytes.Count(written, []byte("\n")) + 2), Unknown: 2, UnknownFields: 6, Ended: true,
		Time: got.end.Time, Unix: got.end.Unix, Dropped: got.end.Dropped}
	if report != want || len(got.records) != len(outputtest.Typical().Records) {
		t.Errorf("report %+v, want %+v; %d records", report, want, len(got.records))
	}
}

// The order of fields is nobody's promise.
func TestOrderOfFields(t *testing.T) {
	var sorted bytes.Buffer
	written := write(t, outputtest.Random(3, 500))
	for line := range bytes.Lines(written) {
		m := decode(t, line) // encoding/json sorts them
		encoded, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		sorted.Write(append(encoded, '\n'))
	}
	var again bytes.Buffer
	if _, err := Play(&sorted, New(&again, "test")); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(again.Bytes(), written) {
		t.Error("sorted fields are read in another way" + firstDifference(written, again.Bytes()))
	}
}

// Lines that nobody has written are refused, with their number.
func TestRefused(t *testing.T) {
	written := string(write(t, outputtest.Typical()))
	start, _, _ := strings.Cut(written, "\n")
	for _, test := range []struct{ name, old, with, want string }{
		{"not JSON", `"rank":0,"host"`, `"rank":,"host"`, "line 2: jsontext: "},
		{"no object", "\n", "\n[]\n", "line 2: []: want an object"},
		{"an empty line", "\n", "\n\n", "line 2: "},
		{"two objects", "\n", "{}\n", "line 1: more than one object"},
		{"no event type", "\n", "\n{\"a\":1}\n", "line 2: no event_type"},
		{"no start", start, `{"event_type":"gpu_sample"}`, "line 1: gpu_sample: want session_start first"},
		{"another start", "\n", "\n" + start + "\n", "line 2: session_start: another session begins"},
		{"another version", `"schema_version":1`, `"schema_version":2`, "line 1: session_start: schema_version: 2: this phasetrace reads version 1"},
		{"another session", `"session_id":"s1","rank":0`, `"session_id":"s2","rank":0`, "line 2: phase_enter: session_id: "},
		{"another host", `"rank":0,"host":"node7"`, `"rank":0,"host":"node8"`, "line 2: phase_enter: host: "},
		{"a field missing", `"self_ns":101000000,`, ``, "line 5: phase_exit: no self_ns"},
		{"a field twice", `"duration_ns":101000000,`, `"duration_ns":101000000,"duration_ns":1,`, "line 5: phase_exit: duration_ns twice"},
		{"a fraction", `"duration_ns":101000000`, `"duration_ns":1.5`, "line 5: phase_exit: duration_ns: 1.5: want an integer"},
		{"too large", `"duration_ns":101000000`, `"duration_ns":9223372036854775808`, "want an integer of 64 bits"},
		{"far too large", `"duration_ns":101000000`, `"duration_ns":1e999`, "want an integer of 64 bits"},
		{"negative", `"sequence":1,`, `"sequence":-1,`, "metadata: phase_scope: sequence: -1: want an integer of 64 bits from 0 on"},
		{"null", `"duration_ns":101000000`, `"duration_ns":null`, "duration_ns: null: want an integer"},
		{"a string", `"duration_ns":101000000`, `"duration_ns":"1"`, `duration_ns: "1": want an integer`},
		{"no string", `"thread_name":"train"`, `"thread_name":7`, "thread_name: 7: want a string"},
		{"no list", `"path":["train"]`, `"path":"train"`, "path"},
		{"no names", `"path":["train"]`, `"path":[]`, "no names"},
		{"an empty name", `"path":["train"]`, `"path":[" "]`, "the name is empty"},
		{"no path", `"path":["train"]`, `"path":null`, "path, scope_id or rank: want one"},
		{"an id", `"scope_id":"s1:1"`, `"scope_id":"one"`, `scope_id: "one": want an id such as s1:1`},
		{"scope 0", `"scope_id":"s1:1"`, `"scope_id":"s1:0"`, "path, scope_id or rank: want one"},
		{"a status", `"status":"device_lost"`, `"status":"gone"`, `"gone" is no status`},
		{"a kind", `"kind":"not_lifo"`, `"kind":"fifo"`, `"fifo" is no kind of violation`},
		{"a certainty", `"certainty":"unique"`, `"certainty":"sure"`, `"sure" is no certainty`},
		{"a guess for an answer", `"certainty":"unique"`, `"certainty":"ambiguous"`, "not what certainty ambiguous calls for"},
		{"fewer candidates than named", `"candidate_count":1`, `"candidate_count":0`, "candidate_count: 0, and 1 candidates"},
		{"more candidates than named", `"candidate_count":1`, `"candidate_count":3`, "candidate_count: 3, and 1 candidates"},
		{"path bytes", `"path":["train"]`, `"path":["train"],"path_bytes":["?"]`, "path_bytes: illegal base64"},
		{"more path bytes", `"path":["train"]`, `"path":["train"],"path_bytes":["YQ==","YQ=="]`, "path_bytes: 2 names, want 1"},
		{"invalid UTF-8", `"comm":"train"`, "\"comm\":\"\xff\"", "no valid UTF-8"},
		{"half a surrogate", `"comm":"train"`, `"comm":"\ud800"`, "line 1: session_start: processes: comm: "},
		{"after the end", `}` + "\n" + `{"event_type":"session_end"`, `}` + "\n" + lastLine(written) + "\n" + `{"event_type":"session_end"`, "session_end: a line after session_end"},
	} {
		t.Run(test.name, func(t *testing.T) {
			text := strings.Replace(written, test.old, test.with, 1)
			if text == written {
				t.Fatal("nothing replaced")
			}
			var got keeper
			_, err := Play(strings.NewReader(text), &got)
			var line *LineError
			if !errors.As(err, &line) || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("error %v, want %q", err, test.want)
			}
		})
	}
}

func lastLine(s string) string {
	s = strings.TrimSuffix(s, "\n")
	return s[strings.LastIndexByte(s, '\n')+1:]
}

// Errors of the reader and of the sink come out as they are.
func TestPlayErrors(t *testing.T) {
	broken := errors.New("broken")
	written := write(t, outputtest.Typical())
	if _, err := Play(io.MultiReader(bytes.NewReader(written[:5000]), iotest.ErrReader(broken)), &keeper{}); err != broken {
		t.Errorf("a reader that fails: %v", err)
	}
	full := New(&failingWriter{broken}, "out")
	if _, err := Play(bytes.NewReader(written), full); !errors.Is(err, broken) || errors.As(err, new(*LineError)) {
		t.Errorf("a sink that fails: %v", err)
	}
}

type failingWriter struct{ err error }

func (f *failingWriter) Write([]byte) (int, error) { return 0, f.err }

// What came so far can be seen before more is waited for.
func TestPlayFlushes(t *testing.T) {
	written := write(t, outputtest.Typical())
	var got keeper
	r := &asking{Reader: bytes.NewReader(written), before: func() {
		if got.flushed != len(got.records) {
			t.Errorf("%d of %d records are visible before a read", got.flushed, len(got.records))
		}
	}}
	if _, err := Play(iotest.OneByteReader(r), &got); err != nil || got.end == nil {
		t.Fatal(err)
	}
}

// asking calls back before each read.
type asking struct {
	io.Reader
	before func()
}

func (a *asking) Read(b []byte) (int, error) { a.before(); return a.Reader.Read(b) }

func FuzzPlay(f *testing.F) {
	for _, s := range sessions {
		written := write(f, s())
		f.Add(written[:min(len(written), 20_000)])
		for line := range bytes.Lines(written[:min(len(written), 20_000)]) {
			f.Add(line)
		}
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var once, twice bytes.Buffer
		if _, err := Play(bytes.NewReader(in), New(&once, "test")); err != nil || once.Len() == 0 {
			return
		}
		if _, err := Play(bytes.NewReader(once.Bytes()), New(&twice, "test")); err != nil {
			t.Fatalf("what was written is not read: %v\n%s", err, once.Bytes())
		}
		if !bytes.Equal(once.Bytes(), twice.Bytes()) {
			t.Error("written twice it differs" + firstDifference(once.Bytes(), twice.Bytes()))
		}
	})
}

// BenchmarkPlay reads lines into a sink that does nothing. One operation is one
// line.
func BenchmarkPlay(b *testing.B) {
	for _, detail := range details {
		b.Run(detail, func(b *testing.B) {
			var out bytes.Buffer
			_, open, pair := sample(b, detail)
			sink := open(&out)
			const n = 10_000
			for i := range n {
				if err := sink.Record(pair[i&1]); err != nil {
					b.Fatal(err)
				}
			}
			if err := sink.Flush(); err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(out.Len() / n))
			b.ReportAllocs()
			b.ResetTimer()
			for i := 0; i < b.N; i += n {
				if _, err := Play(bytes.NewReader(out.Bytes()), nothing{}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "lines/s")
		})
	}
}

type nothing struct{}

func (nothing) Start(*stream.Start) error  { return nil }
func (nothing) Record(stream.Record) error { return nil }
func (nothing) Flush() error               { return nil }
func (nothing) End(*stream.Summary) error  { return nil }
