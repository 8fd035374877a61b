// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/output/human"
	"github.com/phasetrace/phasetrace/internal/output/jsonl"
	"github.com/phasetrace/phasetrace/internal/output/outputtest"
	"github.com/phasetrace/phasetrace/internal/stream"
	"github.com/phasetrace/phasetrace/internal/testenv"
)

// brokenOutput fails from some boundary on.
type brokenOutput struct {
	lineHook
	err error
}

func (b *brokenOutput) Write(p []byte) (int, error) {
	if b.boundaries >= b.at {
		return 0, b.err
	}
	return b.lineHook.Write(p)
}

// An output that fails is reported at once and at the end; the others are complete.
func TestOneOutputFails(t *testing.T) {
	testenv.BPF(t)
	p := fixture.Start(t, fixture.Build(t, "pace.c"), "100", "500", "2500")
	p.Expect("ready")
	fifo := newFIFO(t)
	good := filepath.Join(t.TempDir(), "good.jsonl")
	out := &brokenOutput{lineHook{at: 20}, errors.New("disk on fire")}
	var errs syncBuffer
	done := make(chan int, 1)
	go func() {
		done <- run(context.Background(), []string{"-p", strconv.Itoa(p.Pid()), "--gpu", "off", "--format", "jsonl",
			"-o", "-", "-o", good, "--ready-file", fifo}, nil, out, &errs)
	}()
	awaitFIFO(t, fifo)
	p.WriteLine("go")
	if status := <-done; status != statusFailed {
		t.Errorf("exit status %d", status)
	}
	p.Expect("done")
	p.WaitOK()
	const failure = "phasetrace: write standard output: disk on fire: "
	if text := errs.String(); strings.Count(text, "disk on fire") != 2 || !strings.Contains(text, "warning: write standard output: disk on fire: ") || !strings.Contains(text, failure) {
		t.Errorf("the failure is not told as it should:\n%s", text)
	}
	f, err := os.Open(good)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := jsonl.Replay(f, nil)
	if err != nil {
		t.Fatal(err)
	}
	if r.Recorded == nil || r.Recorded.EndReason != "target_exit" || r.Recorded.Boundaries != 200 {
		t.Fatalf("the other output ends with %+v", r.Recorded)
	}
	if diff := outputtest.DiffFigures(r.Recorded, r.Played); diff != "" {
		t.Errorf("figures (-recorded +played):\n%s", diff)
	}
}

// openTerminal returns the two ends of a new terminal.
func openTerminal(t *testing.T) (screen, terminal *os.File) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { screen.Close() })
	if err := unix.IoctlSetPointerInt(int(screen.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(screen.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return screen, terminal
}

// Whatever is written where, a person at the terminal sees the summary once, and
// a script gets it on standard error only with JSON lines.
func TestOneSummary(t *testing.T) {
	for _, test := range []struct {
		name     string
		outputs  []string
		format   string
		out, err bool // are the terminal
		onOut    int  // summaries on standard output
		onErr    int  // on standard error; all of them on the terminal, where both are
	}{
		{"text", nil, "", true, true, 0, 1},
		{"text in a file", []string{"x.txt"}, "", true, true, 0, 1},
		{"text on the terminal and lines in a file", []string{"-", "x.jsonl"}, "", true, true, 0, 1},
		{"lines and text in files", []string{"x.jsonl", "x.txt"}, "", true, true, 0, 1},
		{"lines on the terminal", []string{"-", "x.txt"}, "jsonl", true, true, 0, 1},
		{"a summary alone", []string{"-", "x.jsonl", "x.txt"}, "summary", true, true, 0, 1},
		{"text in a pipe, watched", []string{"-"}, "", false, true, 1, 1},
		{"a script's text", []string{"-"}, "", false, false, 1, 0},
		{"a script's lines", []string{"x.jsonl"}, "", false, false, 0, 1},
		{"a script's summary", []string{"-"}, "summary", false, false, 1, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			screen, terminal := openTerminal(t)
			shown := make(chan string, 1)
			go func() {
				text, _ := io.ReadAll(screen) // ends with an error when the terminal is closed
				shown <- string(text)
			}()
			var outText, errText bytes.Buffer
			s := &streams{out: &outText, err: &errText}
			if test.out {
				s.out = terminal
			}
			if test.err {
				s.err = terminal
			}
			o := &traceOptions{outputs: test.outputs, format: test.format}
			out, err := openOutputs(t.Context(), o, s, func(m string) { t.Error(m) })
			if err != nil {
				t.Fatal(err)
			}
			session := outputtest.Typical()
			session.Summary.Dropped = stream.Counts{}
			if err := session.Play(out); err != nil {
				t.Fatal(err)
			}
			if err := out.finish(&session.Summary); err != nil {
				t.Fatal(err)
			}
			terminal.Close()
			onTerminal := summaries(<-shown)
			onErr := summaries(errText.String())
			if test.err {
				onErr = onTerminal
			}
			if onErr != test.onErr || summaries(outText.String()) != test.onOut {
				t.Errorf("%d summaries on standard error or the terminal and %d on standard output, want %d and %d",
					onErr, summaries(outText.String()), test.onErr, test.onOut)
			}
		})
	}
}

// On a terminal lines are as wide as it is, and NO_COLOR is heeded.
func TestTerminal(t *testing.T) {
	t.Setenv("TERM", "xterm")
	for _, test := range []struct {
		noColor, format string
		columns, widest int // widest: at least
	}{
		{"", "text", 80, 75}, {"1", "text", 80, 75}, {"1", "text", 200, 150}, {"1", "summary", 80, 75}, {"1", "jsonl", 80, 75},
	} {
		t.Run(fmt.Sprintf("%s %d %q", test.format, test.columns, test.noColor), func(t *testing.T) {
			t.Setenv("NO_COLOR", test.noColor)
			screen, terminal := openTerminal(t)
			if err := unix.IoctlSetWinsize(int(screen.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 50, Col: uint16(test.columns)}); err != nil {
				t.Fatal(err)
			}
			shown := make(chan string, 1)
			go func() {
				text, _ := io.ReadAll(screen)
				shown <- string(text)
			}()
			s := &streams{out: terminal, err: io.Discard}
			if test.format == "jsonl" { // the summary comes on standard error
				s = &streams{out: io.Discard, err: terminal}
			}
			out, err := openOutputs(t.Context(), &traceOptions{format: test.format}, s, func(m string) { t.Error(m) })
			if err != nil {
				t.Fatal(err)
			}
			session := outputtest.Typical()
			if err := errors.Join(session.Play(out), out.finish(&session.Summary)); err != nil {
				t.Fatal(err)
			}
			terminal.Close()
			text, widest := <-shown, 0
			if coloured := strings.Contains(text, "\x1b"); coloured != (test.noColor == "") {
				t.Errorf("NO_COLOR=%q, and colours: %v", test.noColor, coloured)
			}
			for line := range strings.Lines(text) {
				widest = max(widest, human.Columns([]byte(strings.TrimRight(line, "\r\n"))))
			}
			if widest > test.columns || widest < test.widest {
				t.Errorf("the widest line has %d columns, the terminal %d:\n%s", widest, test.columns, text)
			}
		})
	}
}

// A person who sees no lines is told when the trace ends, and how to see figures before.
func TestQuietAdvice(t *testing.T) {
	screen, terminal := openTerminal(t)
	defer terminal.Close()
	go func() { _, _ = io.Copy(io.Discard, screen) }()
	usr1 := fmt.Sprintf("; kill -USR1 %d shows the figures so far", os.Getpid())
	for _, test := range []struct {
		name string
		o    traceOptions
		err  io.Writer
		want string
	}{
		{"a file", traceOptions{outputs: []string{"x.jsonl"}}, terminal, "tracing until Ctrl-C" + usr1},
		{"a file for a time", traceOptions{outputs: []string{"x.txt"}, duration: 90 * time.Second}, terminal, "tracing for 1m30s, or until Ctrl-C" + usr1},
		{"a summary", traceOptions{format: "summary"}, terminal, "tracing until Ctrl-C" + usr1},
		{"counted", traceOptions{aggregate: true}, terminal, "tracing until Ctrl-C" + usr1},
		{"lines", traceOptions{}, terminal, ""},
		{"lines and a file", traceOptions{outputs: []string{"-", "x.jsonl"}}, terminal, ""},
		{"a command", traceOptions{format: "summary", command: []string{"true"}}, terminal, ""},
		{"a script", traceOptions{format: "summary"}, io.Discard, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			s := &streams{out: terminal, err: test.err}
			out, err := openOutputs(t.Context(), &test.o, s, func(m string) { t.Error(m) })
			if err != nil {
				t.Fatal(err)
			}
			if got := test.o.quietAdvice(out, s); got != test.want {
				t.Errorf("it says %q, want %q", got, test.want)
			}
			if err := out.abandon(); err != nil {
				t.Error(err)
			}
		})
	}
}

// Messages are broken between words on a terminal, but not what may be copied.
func TestMessagesFit(t *testing.T) {
	screen, terminal := openTerminal(t)
	if err := unix.IoctlSetWinsize(int(screen.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 50, Col: 30}); err != nil {
		t.Fatal(err)
	}
	s := &streams{err: terminal}
	s.say("attached to postgres (pid 3913)")
	s.say("1 pair is off: --pair 'a:b/c;name=two words'")
	terminal.Close()
	text, _ := io.ReadAll(screen)
	const want = "phasetrace: attached to\r\n            postgres (pid\r\n            3913)\r\n" +
		"phasetrace: 1 pair is off: --pair 'a:b/c;name=two words'\r\n"
	if string(text) != want {
		t.Errorf("it says\n%s\nwant\n%s", text, want)
	}
	var piped bytes.Buffer
	(&streams{err: &piped}).say("attached to postgres (pid 3913)")
	if piped.String() != "phasetrace: attached to postgres (pid 3913)\n" {
		t.Errorf("in a pipe it says %q", piped.String())
	}
}

// summaries counts the summaries that a person could read in a text.
func summaries(text string) int { return strings.Count(text, "20,014 boundaries of ") }

// With --strict, records that did not reach an output are losses.
func TestStrictAboutDropped(t *testing.T) {
	sum := &stream.Summary{Dropped: stream.Counts{Boundaries: 3, Samples: 4}}
	for strict, want := range map[bool]int{false: statusFine, true: statusLost} {
		err := (&traceOptions{strict: strict}).finish(sum, nil, nil)
		var status *statusError
		if got := statusFine; errors.As(err, &status) {
			got = status.status
			if got != want || !strings.Contains(err.Error(), "7 records were not written") {
				t.Errorf("strict %v: %v, exit status %d", strict, err, got)
			}
		} else if want != statusFine {
			t.Errorf("strict %v: %v", strict, err)
		}
	}
}

// hangingOutput takes nothing after its first write.
type hangingOutput struct {
	writes int
	until  chan bool
}

func (h *hangingOutput) Write(p []byte) (int, error) {
	if h.writes++; h.writes > 1 {
		<-h.until
	}
	return len(p), nil
}

// An output that hangs holds up nothing else, and whoever has ended the session by
// a signal is not kept waiting for it: the others are whole.
func TestHangingOutput(t *testing.T) {
	t.Chdir(t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	h := &hangingOutput{until: make(chan bool)}
	defer close(h.until)
	var said []string
	o := &traceOptions{outputs: []string{"-", "good.jsonl"}, format: "jsonl"}
	out, err := openOutputs(ctx, o, &streams{out: h, err: io.Discard}, func(m string) {
		said = append(said, m)
		cancel() // Ctrl-C
	})
	if err != nil {
		t.Fatal(err)
	}
	session := outputtest.Random(1, 2000)
	session.Summary.Dropped = stream.Counts{}
	err = session.Play(out)
	sum := session.Summary
	err = errors.Join(err, out.finish(&sum))
	var hangs *stream.UnwrittenError
	if !errors.As(err, &hangs) || hangs.Name != "standard output" || strings.Count(err.Error(), "given up") != 1 {
		t.Errorf("error %v", err)
	}
	if len(said) != 1 || said[0] != "waiting until all is written to standard output; Ctrl-C gives up" {
		t.Errorf("said %q", said)
	}
	if n := hangs.Counts.Total(); sum.Dropped != hangs.Counts || n == 0 || n+hangs.Unflushed != uint64(len(session.Records)) {
		t.Errorf("the summary tells of %+v, the error of %+v", sum.Dropped, hangs)
	}
	text, err := os.ReadFile("good.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.Split(bytes.TrimSuffix(text, []byte("\n")), []byte("\n"))
	var last countedLine
	if err := json.Unmarshal(lines[len(lines)-1], &last); err != nil {
		t.Fatal(err)
	}
	if len(lines) != len(session.Records)+2 || last.EventType != "session_end" || last.Dropped.Total != 0 {
		t.Errorf("the other output has %d lines and ends with %+v", len(lines), last)
	}
}
