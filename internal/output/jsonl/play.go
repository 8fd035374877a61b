// SPDX-License-Identifier: Apache-2.0

package jsonl

import (
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// Report is what Play found in addition to records.
type Report struct {
	Lines uint64 // whole lines
	// Unknown counts lines that were skipped because of an unknown event type,
	// and UnknownFields the fields that were skipped in other lines: a later
	// version may add both.
	Unknown, UnknownFields uint64
	// Torn is the length in bytes of an incomplete last line, left out: its
	// writer was interrupted.
	Torn int
	// Ended says that the end of the session was there. If not, the sink got no
	// End.
	Ended bool
	// Time and Unix are those of the last line that was played.
	Time, Unix int64
	// Dropped counts lines that are missing, as other lines report.
	Dropped stream.Counts
}

// LineError says which line cannot be read, and why.
type LineError struct {
	Line uint64 // from 1
	Err  error
}

// Error names the line first.
func (e *LineError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }

// Unwrap returns the reason.
func (e *LineError) Unwrap() error { return e.Err }

// Play reads JSON lines back into a sink: the session's start, its records and
// its end, as they were, with a flush before each wait for the reader. Written
// again, they give the same lines.
//
// It is strict: anything it cannot skip (see Report) ends it with a *LineError;
// the sink keeps what it got until then. An error of the sink or of the reader is
// returned as it is.
func Play(r io.Reader, sink stream.Sink) (Report, error) {
	p := newPlayer(r, sink)
	err := p.play()
	p.report.UnknownFields = p.unknown
	return p.report, err
}

// kind is a kind of line: its fields, and the function that hands it to the sink.
type kind struct {
	event  string
	fields *object
	play   func(*player) error
}

const startEvent = "session_start"

var kinds = func() map[string]kind {
	byEvent := make(map[string]kind)
	for _, k := range []kind{
		{startEvent, startFields, (*player).playStart},
		{"phase_enter", enterFields, func(p *player) error { return p.playBoundary(recorder.Enter) }},
		{"phase_exit", exitFields, func(p *player) error { return p.playBoundary(recorder.Exit) }},
		{"protocol_error", violationFields, (*player).playViolation},
		{"orphan_exit", orphanFields, (*player).playOrphan},
		{"records_lost", lossFields, (*player).playLoss},
		{"records_dropped", droppedFields, (*player).playDropped},
		{"gpu_sample", sampleFields, (*player).playSample},
		{"process_start", processStartFields, (*player).playProcessStart},
		{"process_title", processTitleFields, (*player).playProcessTitle},
		{"pair_change", pairChangeFields, (*player).playPairChange},
		{"process_exit", processExitFields, (*player).playProcessExit},
		{"session_end", endFields, (*player).playEnd},
	} {
		byEvent[k.event] = k
	}
	return byEvent
}()

func (p *player) play() error {
	for {
		line, err := p.lines.next(p.flush)
		switch {
		case err == io.EOF && p.report.Lines == 0 && p.report.Torn == 0:
			return &LineError{1, errors.New("the file is empty: want session_start")}
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
		if !p.lines.whole && !jsontext.Value(line).IsValid() {
			p.report.Torn = len(line)
			continue
		}
		p.report.Lines++
		if err := p.playLine(line); err != nil {
			return err
		}
	}
}

func (p *player) flush() error {
	if !p.started || p.report.Ended {
		return nil
	}
	return p.sink.Flush()
}

// playLine plays one line.
func (p *player) playLine(line []byte) error {
	if err := p.begin(line); err != nil {
		return &LineError{p.report.Lines, err}
	}
	event, first := p.event()
	if p.err != nil {
		return &LineError{p.report.Lines, p.err}
	}
	k, known := kinds[event]
	p.reset()
	switch {
	case p.report.Ended:
		p.failf("a line after session_end")
	case !p.started && event != startEvent:
		p.failf("want session_start first")
	case p.started && event == startEvent:
		p.failf("another session begins: play each by itself")
	case !known:
		p.report.Unknown++
		return nil
	}
	if err := p.refusal(event, func() { p.members(k.fields, first) }); err != nil {
		return err
	}
	p.report.Time, p.report.Unix = p.time, p.unix
	var err error
	if refused := p.refusal(event, func() { err = k.play(p) }); refused != nil {
		return refused
	}
	return err
}

// refusal says why handling a line failed.
func (p *player) refusal(event string, do func()) error {
	if p.err == nil {
		do()
	}
	if p.err == nil {
		return nil
	}
	return &LineError{p.report.Lines, fmt.Errorf("%s: %w", event, p.err)}
}

// event reads the event type of a line. We write it first: then it has been read,
// and first has its bit. If somebody has sorted the fields, event looks for it.
func (p *player) event() (event string, first uint64) {
	if !p.open('{', "an object") {
		return "", 0
	}
	begin := p.at
	for n := 0; p.more('}'); n++ {
		if string(p.name()) != `"event_type"` {
			p.skip()
			continue
		}
		if event = p.string(); n == 0 {
			return event, 1
		}
		p.at = begin
		return event, 0
	}
	p.failf("no event_type")
	return "", 0
}
