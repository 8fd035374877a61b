// SPDX-License-Identifier: Apache-2.0

package session

import (
	"slices"

	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// summary sums up what was recorded or counted so far. The core is locked.
func (s *Session) summary(reason string, now int64) (*stream.Summary, error) {
	c := s.core
	c.clock.Look()
	var st loader.Stats
	var err error
	if t := s.watcher.tracer; t != nil {
		st, err = t.Stats()
	}
	e := c.engine.Stats()
	sum := &stream.Summary{
		SessionID: s.cfg.SessionID, Time: now, Unix: c.clock.At(now),
		Elapsed: elapsed(s.started, now), EndReason: reason,
		Received: st.Received, Lost: max(st.Lost+st.LostNoState, e.Lost), LostOther: st.LostLifecycle,
		Violations: c.engine.Violations(), ViolationTotal: e.Violations,
		GPUStatus: s.cfg.GPUStatus,
	}
	sum.Notes = slices.Concat(engineNotes(&e), keyNotes(c.engine.KeyReuses()), overlapNotes(c.engine.Overlaps()), present(
		stream.Note{What: "durations that count in totals but not in quantiles, because there are too many phases", Count: c.out.figures.Unsorted()},
		stream.Note{What: "durations that are in no comparison of ranks, because there are too many ranks and phases", Count: c.out.figures.Rankless()},
	), kernelNotes(st), c.out.notes(), clockNotes(c.clock))
	c.out.figures.Snapshot(sum)
	if g := c.out.gpu; g != nil {
		sum.Devices = g.devices
	}
	s.mode.summarise(sum)
	s.costs.summarise(sum)
	return sum, err
}
