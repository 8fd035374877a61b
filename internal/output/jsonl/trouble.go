// SPDX-License-Identifier: Apache-2.0

package jsonl

import (
	"github.com/phasetrace/phasetrace/internal/output/phrase"
	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// violationLine writes protocol_error.
func (s *Sink) violationLine(v *stream.Violation) error {
	l := s.begin("protocol_error", v.Unix, v.Time)
	return s.end(s.violation(l, v))
}

// violation appends all but the head of a protocol_error.
func (s *Sink) violation(l line, v *stream.Violation) line {
	l = s.where(l, v.Thread)
	l = l.text(`,"context":`, "Protocol error: "+v.Err.Error())
	if v.Thread == nil || v.Thread.TID != v.Err.ThreadID {
		l = l.integer(`,"exit_thread_id":`, int64(v.Err.ThreadID))
	}
	l = l.text(`,"kind":`, v.Err.Kind.String())
	l = s.scopeRef(l, `,"closing":`, &v.Err.Closing, v.ClosingStart, v)
	l = s.scopeRef(l, `,"top":`, &v.Err.Top, v.TopStart, v)
	l = marker(l, `,"marker":`, v.Marker)
	return l.textOrNull(`,"repaired":`, phrase.Repair(v.Repaired))
}

// where appends rank, host, process and thread, with nulls for what is unknown.
func (s *Sink) where(l line, t *stream.Thread) line {
	if t == nil {
		l = append(l, `,"rank":null`...)
		return append(s.thread(l, t), `,"thread_id":null,"thread_name":null`...)
	}
	if t.Process == nil {
		l = append(l, `,"rank":null`...)
	} else {
		l = l.integer(`,"rank":`, int64(t.Process.Rank))
	}
	l = s.thread(l, t)
	l = l.integer(`,"thread_id":`, int64(t.TID))
	return l.textOrNull(`,"thread_name":`, t.Name)
}

// scopeRef appends a scope of a violation, null when there is none.
func (s *Sink) scopeRef(l line, key string, r *recorder.ScopeRef, start int64, v *stream.Violation) line {
	if !r.Known() {
		return l.null(key)
	}
	l = l.textOrNull(key+`{"scope_id":`, r.ScopeID())
	l = s.path(l, `,"path":`, r.Path)
	l = l.flag(`,"open":`, r.Open)
	if r.ThreadID == 0 {
		l = append(l, `,"thread_id":null`...)
	} else {
		l = l.integer(`,"thread_id":`, int64(r.ThreadID))
	}
	l = l.textOrNull(`,"thread_name":`, r.ThreadName)
	l = l.textOrNull(`,"lane":`, r.Lane)
	if start == 0 {
		l = append(l, `,"start_timestamp_ns":null,"start_monotonic_ns":null`...)
	} else {
		l = l.integer(`,"start_timestamp_ns":`, v.Unix-v.Time+start)
		l = l.integer(`,"start_monotonic_ns":`, start)
	}
	return append(l, '}')
}

// marker appends a site, null for nil.
func marker(l line, key string, m *stream.Marker) line {
	if m == nil {
		return l.null(key)
	}
	l = l.text(key+`{"provider":`, m.Provider)
	l = outcome(l.text(`,"probe":`, m.Probe), m)
	l = l.textOrNull(`,"file":`, m.Path)
	l = l.count(`,"offset":`, m.Offset)
	return append(l, '}')
}

// orphan writes orphan_exit.
func (s *Sink) orphan(o *stream.Orphan) error {
	l := s.begin("orphan_exit", o.Unix, o.Time)
	l = s.where(l, o.Thread)
	l = l.text(`,"reason":`, string(o.Reason))
	return s.end(marker(l, `,"marker":`, o.Marker))
}

// loss writes records_lost.
func (s *Sink) loss(r *stream.Loss) error {
	l := s.begin("records_lost", r.Unix, r.Time)
	l = s.where(l, r.Thread)
	return s.end(l.count(`,"count":`, r.Count))
}

// dropped writes records_dropped.
func (s *Sink) dropped(r *stream.Dropped) error {
	l := s.begin("records_dropped", r.Unix, r.Time)
	l = append(l, s.host...)
	l = l.integer(`,"until_monotonic_ns":`, r.Until)
	return s.end(missing(l, &r.Counts))
}

// missing appends how many records did not reach the output, by kind.
func missing(l line, c *stream.Counts) line {
	l = l.count(`,"dropped":{"total":`, c.Total())
	l = l.count(`,"boundaries":`, c.Boundaries)
	l = l.count(`,"protocol_errors":`, c.Violations)
	l = l.count(`,"orphan_exits":`, c.Orphans)
	l = l.count(`,"records_lost":`, c.Losses)
	l = l.count(`,"gpu_samples":`, c.Samples)
	l = l.count(`,"process_changes":`, c.ProcessChanges)
	if c.PairChanges > 0 {
		l = l.count(`,"pair_changes":`, c.PairChanges)
	}
	return append(l, '}')
}

// sample writes gpu_sample.
func (s *Sink) sample(g *stream.Sample) error {
	s.setDevice(&g.Device)
	l := s.begin("gpu_sample", g.Unix, g.Mid)
	l = s.device(append(append(l, s.host...), ','), g.Sample.Device)
	l = l.bytes(`,"used_bytes":`, g.Used)
	l = l.bytes(`,"free_bytes":`, g.Free)
	l = l.bytes(`,"total_bytes":`, g.Total)
	l = l.bytes(`,"reserved_bytes":`, g.Reserved)
	l = l.integer(`,"latency_ns":`, g.Latency())
	l = l.text(`,"status":`, g.Status.String())
	return s.end(s.attribution(l, `,"phase":`, &g.Phase))
}

// maxCandidates bounds how many active phases a line names. Their number is
// always given.
const maxCandidates = 16

// attribution appends who was active.
func (s *Sink) attribution(l line, key string, a *recorder.Attribution) line {
	l = l.text(key+`{"certainty":`, a.Certainty.String())
	l = s.path(l, `,"path":`, a.Path)
	if a.Likely.Path == nil {
		l = append(l, `,"likely":null`...)
	} else {
		l = s.active(append(l, `,"likely":`...), &a.Likely)
	}
	l = l.count(`,"candidate_count":`, uint64(len(a.Candidates)+a.More))
	l = append(l, `,"candidates":[`...)
	for i := range a.Candidates[:min(len(a.Candidates), maxCandidates)] {
		if i > 0 {
			l = append(l, ',')
		}
		l = s.active(l, &a.Candidates[i])
	}
	return append(l, `]}`...)
}

func (s *Sink) active(l line, a *recorder.Active) line {
	l = l.text(`{"scope_id":`, a.ScopeID())
	l = s.path(l, `,"path":`, a.Path)
	l = l.integer(`,"thread_id":`, int64(a.ThreadID))
	l = l.integer(`,"rank":`, int64(a.Rank))
	return append(l.textOrNull(`,"lane":`, a.Lane), '}')
}

// outcome appends what an exit says of its phase, where there are several exits.
func outcome(l line, m *stream.Marker) line {
	if m.Outcome == "" {
		return l
	}
	return l.text(`,"outcome":`, m.Outcome)
}

// processChange writes process_start, process_title or process_exit.
func (s *Sink) processChange(c *stream.ProcessChange) error {
	if c.Titled {
		l := s.begin("process_title", c.Unix, c.Time)
		l = ids(append(l, s.host...), c.Process)
		l = l.textOrNull(`,"title":`, c.Process.Title)
		return s.end(l.textOrNull(`,"former_title":`, c.Before))
	}
	if c.Started {
		l := s.begin("process_start", c.Unix, c.Time)
		l = s.process(append(l, s.host...), c.Process)
		return s.end(l.flag(`,"exec":`, c.Exec))
	}
	l := s.begin("process_exit", c.Unix, c.Time)
	l = ids(append(l, s.host...), c.Process)
	l = l.textOrNull(`,"comm":`, c.Process.Comm)
	l = exitStatus(l.textOrNull(`,"title":`, c.Process.Title), c)
	if c.Removed {
		l = append(l, `,"removed":true`...)
	}
	for i, path := range c.In {
		if i == 0 {
			l = append(l, `,"in":[`...)
		} else {
			l = append(l, ',')
		}
		l = l.text("", path)
	}
	if len(c.In) > 0 {
		l = append(l, ']')
	}
	return s.end(l)
}

// exitStatus takes wait(2)'s status apart: the low seven bits are the signal that
// ended the process, the next one marks a core dump, the next eight are the exit
// code.
func exitStatus(l line, c *stream.ProcessChange) line {
	signal := c.ExitCode & 0x7f
	switch {
	case !c.HasExit:
		return append(l, `,"exit_code":null,"signal":null,"core_dumped":null`...)
	case signal != 0:
		l = l.integer(`,"exit_code":null,"signal":`, int64(signal))
	default:
		l = l.integer(`,"exit_code":`, int64(c.ExitCode>>8&0xff))
		l = append(l, `,"signal":null`...)
	}
	return l.flag(`,"core_dumped":`, c.ExitCode&0x80 != 0)
}

// process appends what is known of a process.
func (s *Sink) process(l line, p *stream.Process) line {
	l = ids(l, p)
	l = l.textOrNull(`,"comm":`, p.Comm)
	l = l.textOrNull(`,"exe":`, p.Exe)
	l = l.textOrNull(`,"title":`, p.Title)
	l = l.integer(`,"rank":`, int64(p.Rank))
	l = l.textOrNull(`,"rank_source":`, p.RankSource)
	if p.Parent == 0 {
		return append(l, `,"parent_pid":null`...)
	}
	return l.integer(`,"parent_pid":`, int64(p.Parent))
}
