// SPDX-License-Identifier: Apache-2.0

package jsonl

import (
	"io"
	"time"

	"github.com/phasetrace/phasetrace/internal/figures"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// Replayed is a session read back.
type Replayed struct {
	Report Report
	Start  *stream.Start
	// Recorded is the summary that the session wrote, nil when its end is missing.
	Recorded *stream.Summary
	// Played has the figures added up from the lines; everything else comes from
	// Recorded. If no line is missing, and Start has no conditions on lines, the two
	// are the same.
	Played *stream.Summary
}

// Replay reads JSON lines and adds their figures up again, by group too if by is
// not nil.
func Replay(r io.Reader, by *figures.Grouping) (*Replayed, error) {
	f := figures.NewBy(by)
	var facts facts
	report, err := Play(r, stream.Tee(f, &facts))
	if err != nil {
		return nil, err
	}
	out := &Replayed{Report: report, Start: facts.start, Recorded: facts.end}
	if out.Start == nil { // it ends within its first line
		return out, nil
	}
	played := stream.Summary{
		SessionID: out.Start.SessionID, Time: report.Time, Unix: report.Unix,
		Elapsed: time.Duration(report.Time - out.Start.Time), Devices: out.Start.Devices, GPUStatus: out.Start.GPUStatus,
		Dropped: report.Dropped,
	}
	if out.Recorded != nil {
		played = *out.Recorded
		played.Grouped = stream.Grouped{}
	}
	f.Snapshot(&played)
	out.Played = &played
	return out, nil
}

// facts is a sink that keeps the start and the end.
type facts struct {
	start *stream.Start
	end   *stream.Summary
}

func (f *facts) Start(s *stream.Start) error { f.start = s.Clone(); return nil }
func (*facts) Record(stream.Record) error    { return nil }
func (*facts) Flush() error                  { return nil }
func (f *facts) End(s *stream.Summary) error { c := *s; f.end = &c; return nil }
