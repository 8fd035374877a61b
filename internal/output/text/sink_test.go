// SPDX-License-Identifier: Apache-2.0

package text

import (
	"bytes"
	"flag"
	"io"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/phasetrace/phasetrace/internal/output/human"
	"github.com/phasetrace/phasetrace/internal/output/outputtest"
	"github.com/phasetrace/phasetrace/internal/output/summary"
	"github.com/phasetrace/phasetrace/internal/stream"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func render(t *testing.T, s *outputtest.Session, o Options) string {
	t.Helper()
	var out bytes.Buffer
	if err := s.Play(New(&out, "test", o)); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// The goldens hold the stream; summaries have goldens of their own.
func TestGolden(t *testing.T) {
	for _, test := range []struct {
		file    string
		session *outputtest.Session
		width   int
	}{
		{"testdata/typical.txt", outputtest.Typical(), 0},
		{"testdata/typical80.txt", outputtest.Typical(), 80},
		{"testdata/hostile.txt", outputtest.Hostile(), 0},
	} {
		t.Run(test.file, func(t *testing.T) {
			got, _, _ := strings.Cut(render(t, test.session, Options{Width: func() int { return test.width }}), "\n\nsession ")
			got += "\n"
			if *update {
				if err := os.WriteFile(test.file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(test.file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("text differs (-want +got); if it should, run with -update:\n%s", diff)
			}
		})
	}
}

func TestEndsWithTheSummary(t *testing.T) {
	s := outputtest.Typical()
	want := string(summary.Append(nil, &s.Summary, summary.Options{}))
	if got := render(t, s, Options{}); !strings.HasSuffix(got, "\n\n"+want) {
		t.Error("the stream does not end with the summary")
	}
}

// TestColour: colours add codes and nothing else, so that they are never the
// only sign.
func TestColour(t *testing.T) {
	for _, make := range []func() *outputtest.Session{outputtest.Typical, outputtest.Hostile} {
		plain := render(t, make(), Options{})
		coloured := render(t, make(), Options{Summary: summary.Options{Colour: true}})
		if !strings.Contains(coloured, "\x1b[") {
			t.Error("no colour where it was asked for")
		}
		for _, code := range []human.Colour{human.Bold, human.Dim, human.Red, human.Green, human.Yellow, human.Cyan, "\x1b[0m"} {
			coloured = strings.ReplaceAll(coloured, string(code), "")
		}
		if coloured != plain {
			t.Errorf("colours change the text:\n%s", cmp.Diff(plain, coloured))
		}
		checkSafe(t, plain)
	}
}

// checkSafe fails when a terminal would obey the text.
func checkSafe(t *testing.T, s string) {
	t.Helper()
	if !utf8.ValidString(s) {
		t.Error("invalid UTF-8")
	}
	for _, r := range s {
		if r != '\n' && !human.Visible(r) {
			t.Errorf("character %U in the text", r)
		}
	}
}

func TestAttributes(t *testing.T) {
	for _, test := range []struct {
		in, want string
		width    int
	}{
		{`{"epoch":1,"file":"batch 7.bin"}`, `epoch=1 file="batch 7.bin"`, 80},
		{`{ "a" : [1,{"b":"]}"}] , "c d":null }`, `a=[1,{"b":"]}"}] "c d"=null`, 80},
		{`{"sql":"SELECT \"x\", y"}`, `sql="SELECT \"x\", y"`, 80},
		{`{"sql":"SELECT 1"}`, `sql="SELE…`, 10},
		{`{}`, ``, 80},
		{`{"":1}`, `""=1`, 80},
		{"{\"a\":\"\x1b\u202e\"}", `a="\x1b\u202e"`, 80},
		{`[1,2]`, `[1,2]`, 80},
		{`{"a`, `{"a`, 80},
		{``, ``, 80},
	} {
		if got := attributes([]byte(test.in), test.width); got != test.want {
			t.Errorf("attributes %s are %s, want %s", test.in, got, test.want)
		}
	}
}

func attributes(object []byte, width int) string {
	text, _ := human.AppendAttributes(nil, nil, object, width)
	return string(text)
}

func FuzzAttributes(f *testing.F) {
	for _, s := range []string{`{"a":1}`, `{"a":"\\\"}","b":[{}]}`, `{"a":}`, "{\"\x1b\":\"\xff\"}", `{,,}`, `{"a":1]`} {
		f.Add([]byte(s), 20)
	}
	f.Fuzz(func(t *testing.T, object []byte, width int) {
		width = min(max(width, 1), 1000)
		got := attributes(object, width)
		checkSafe(t, strings.ReplaceAll(got, "\n", "\x00"))
		if w := human.Width(got); w > width {
			t.Errorf("%d columns, want at most %d", w, width)
		}
	})
}

func TestManyProcesses(t *testing.T) {
	s := outputtest.Typical()
	other := &stream.Process{PID: 99, Comm: "other"}
	var out bytes.Buffer
	sink := New(&out, "test", Options{})
	s.Start.Processes = append(s.Start.Processes, other)
	if err := s.Play(sink); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "4242 worker/4243") {
		t.Errorf("the process is not told:\n%s", out.String())
	}
}

func TestBoundaryDoesNotAllocate(t *testing.T) {
	s := outputtest.Typical()
	sink := New(io.Discard, "test", Options{})
	if err := s.Play(sink); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(1000, func() {
		for _, r := range s.Records {
			if b, ok := r.(*stream.Boundary); ok {
				if err := sink.Record(b); err != nil {
					t.Fatal(err)
				}
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations a session's boundaries", n)
	}
}

// BenchmarkBoundary writes nowhere. One operation is one boundary.
func BenchmarkBoundary(b *testing.B) {
	s := outputtest.Typical()
	var all []*stream.Boundary
	for _, r := range s.Records {
		if r, ok := r.(*stream.Boundary); ok {
			all = append(all, r)
		}
	}
	sink := New(io.Discard, "test", Options{})
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := sink.Record(all[i%len(all)]); err != nil {
			b.Fatal(err)
		}
	}
}
