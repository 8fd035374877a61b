// SPDX-License-Identifier: Apache-2.0

package jsonl

import (
	"time"

	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// phase appends the figures of one path, by rank and by group too where it has
// them.
func (s *Sink) phase(l line, p *stream.PathStats) line {
	l = s.path(l, `{"path":`, p.Path)
	l = s.figures(l, p, true)
	if p.Joined > 0 {
		l = l.count(`,"joined":`, p.Joined)
	}
	if p.LeftOut > 0 {
		l = l.share(`,"left_out_share":`, p.LeftOut)
	}
	for i := range p.Ranks {
		r := &p.Ranks[i]
		if i == 0 {
			l = append(l, `,"ranks":[`...)
		}
		l = l.integer(`{"rank":`, int64(r.Rank))
		l = l.count(`,"timed":`, r.Timed)
		l = l.integer(`,"total_ns":`, int64(r.Total))
		l = comma(append(l.integer(`,"max_ns":`, int64(r.Max)), '}'), i, len(p.Ranks))
	}
	if len(p.Ranks) > 0 {
		l = append(l, ']')
	}
	for i := range p.Groups {
		if i == 0 {
			l = append(l, `,"groups":[`...)
		}
		l = comma(s.group(l, &p.Groups[i]), i, len(p.Groups))
	}
	if len(p.Groups) > 0 {
		l = append(l, ']')
	}
	return append(l, '}')
}

// group appends the figures of one group of a path.
func (s *Sink) group(l line, g *stream.GroupStats) line {
	switch g.Kind {
	case stream.GroupNone:
		l = append(l, `{"group":null`...)
	case stream.GroupOther:
		l = l.text(`{"group":`, recorder.OtherName)
		l = append(l, `,"overflow":true`...)
	default:
		l = l.text(`{"group":`, g.Name)
	}
	return append(s.figures(l, &g.Figures, false), '}')
}

// figures appends figures. Durations count only scopes that the program itself
// closed and whose duration is known; without one they are null.
func (s *Sink) figures(l line, p *stream.PathStats, open bool) line {
	l = l.count(`,"count":`, p.Count)
	l = l.count(`,"synthetic":`, p.Synthetic)
	if open {
		l = l.count(`,"open":`, p.Open)
	}
	l = l.count(`,"duration_unknown":`, p.Unknown)
	for i := range p.Outcomes {
		if i == 0 {
			l = append(l, `,"outcomes":[`...)
		}
		l = l.text(`{"outcome":`, p.Outcomes[i].Outcome)
		l = comma(append(l.count(`,"count":`, p.Outcomes[i].Count), '}'), i, len(p.Outcomes))
	}
	if len(p.Outcomes) > 0 {
		l = append(l, ']')
	}
	for _, d := range [...]struct {
		key   string
		value time.Duration
	}{
		{`,"total_ns":`, p.Total}, {`,"self_ns":`, p.Self}, {`,"min_ns":`, p.Min},
		{`,"p50_ns":`, p.P50}, {`,"p99_ns":`, p.P99}, {`,"max_ns":`, p.Max},
	} {
		if p.Timed() > 0 {
			l = l.integer(d.key, int64(d.value))
		} else {
			l = l.null(d.key)
		}
	}
	if p.ResidentPeak == 0 { // a running process has memory: nothing was read
		l = append(l, `,"host_memory":null`...)
	} else {
		l = l.integer(`,"host_memory":{"change_bytes":`, p.ResidentChange)
		l = append(l.count(`,"peak_bytes":`, p.ResidentPeak), '}')
	}
	l = append(l, `,"gpu":[`...)
	for i := range p.GPU {
		g := &p.GPU[i]
		l = s.device(append(l, '{'), g.Device)
		l = l.change(`,"change_bytes":`, g.Change)
		low, high := interval(g.Change.Known, g.ChangeLow, g.ChangeHigh)
		l = l.change(`,"change_low_bytes":`, low)
		l = l.change(`,"change_high_bytes":`, high)
		l = l.count(`,"change_scopes":`, g.Changes)
		l = l.count(`,"certain_scopes":`, g.Certain)
		l = l.count(`,"approximate_scopes":`, g.Approximate)
		l = l.count(`,"shared_scopes":`, g.Shared)
		l = l.count(`,"samples":`, g.Samples)
		l = append(l.bytes(`,"peak_used_bytes":`, g.Peak), '}')
		l = comma(l, i, len(p.GPU))
	}
	return append(l, ']')
}
