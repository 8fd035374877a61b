// SPDX-License-Identifier: Apache-2.0

package jsonl

import (
	"github.com/phasetrace/phasetrace/internal/gpu"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// Start writes session_start.
func (s *Sink) Start(r *stream.Start) error {
	s.setSession(r.SessionID, r.Host)
	for i := range r.Devices {
		s.setDevice(&r.Devices[i])
	}
	l := s.begin("session_start", r.Unix, r.Time)
	l = append(l, s.host...)
	l = l.integer(`,"schema_version":`, Version)
	l = l.text(`,"version":`, r.Version)
	l = l.textOrNull(`,"kernel":`, r.Kernel)
	l = append(l, `,"processes":[`...)
	for i, p := range r.Processes {
		// ids begins with a comma, which opens the object here.
		from := len(l)
		l = s.process(l, p)
		l[from] = '{'
		l = append(l, '}')
		l = comma(l, i, len(r.Processes))
	}
	l = append(l, `],"pairs":[`...)
	for i := range r.Pairs {
		l = comma(pair(l, &r.Pairs[i]), i, len(r.Pairs))
	}
	l = s.devices(append(l, ']'), r.Devices, r.GPUStatus)
	if r.Where != "" {
		l = l.text(`,"where":`, r.Where)
	}
	if err := s.end(l); err != nil {
		return err
	}
	return s.Flush()
}

// comma separates the i-th of n elements from the next.
func comma(l line, i, n int) line {
	if i+1 < n {
		return append(l, ',')
	}
	return l
}

func pair(l line, p *stream.PairInfo) line {
	l = l.text(`{"name":`, p.Name)
	l = l.text(`,"provider":`, p.Provider)
	l = l.text(`,"enter":`, p.Enter)
	l = append(l, `,"exits":[`...)
	for i, e := range p.Exits {
		l = comma(l.text(``, e), i, len(p.Exits))
	}
	l = l.textOrNull(`],"lane":`, p.Lane)
	l = l.textOrNull(`,"origin":`, p.Origin)
	return append(l.integer(`,"sites":`, int64(p.Sites)), '}')
}

func (s *Sink) devices(l line, devices []gpu.Device, status string) line {
	l = append(l, `,"devices":[`...)
	for i := range devices {
		d := &devices[i]
		l = s.device(append(l, '{'), d.ID)
		l = l.integer(`,"index":`, int64(d.Index))
		if d.MIG < 0 {
			l = append(l, `,"mig_instance":null`...)
		} else {
			l = l.integer(`,"mig_instance":`, int64(d.MIG))
		}
		l = append(l.textOrNull(`,"name":`, d.Name), '}')
		l = comma(l, i, len(devices))
	}
	return l.textOrNull(`],"gpu_status":`, status)
}

// End writes session_end, after which nothing may follow.
func (s *Sink) End(r *stream.Summary) error {
	l := s.begin("session_end", r.Unix, r.Time)
	l = append(l, s.host...)
	l = l.integer(`,"elapsed_ns":`, int64(r.Elapsed))
	l = l.text(`,"end_reason":`, r.EndReason)
	l = l.count(`,"records":{"received":`, r.Received)
	l = l.count(`,"lost":`, r.Lost)
	l = l.count(`},"lost_other":`, r.LostOther)
	l = l.count(`,"boundaries":`, r.Boundaries)
	l = l.count(`,"synthetic":`, r.Synthetic)
	l = l.count(`,"orphans":`, r.Orphans)
	l = append(l, `,"orphan_reasons":[`...)
	for i, o := range r.OrphanReasons {
		l = l.text(`{"reason":`, string(o.Reason))
		l = comma(append(l.count(`,"count":`, o.Count), '}'), i, len(r.OrphanReasons))
	}
	l = missing(append(l, ']'), &r.Dropped)
	if r.LeftOut > 0 {
		l = l.count(`,"left_out":`, r.LeftOut)
	}
	l = s.violations(l, r)
	if g := &r.Grouped; g.By != "" {
		l = l.text(`,"grouped":{"by":`, g.By)
		l = l.count(`,"groups":`, uint64(g.Groups))
		l = l.count(`,"other":`, g.Other)
		l = append(l.count(`,"cut":`, g.Cut), '}')
	}
	l = append(l, `,"phases":[`...)
	for i := range r.Paths {
		l = comma(s.phase(l, &r.Paths[i]), i, len(r.Paths))
	}
	l = s.openPhases(append(l, ']'), r)
	l = findings(l, r)
	l = parts(l, r.Parts)
	if r.Cost != nil {
		l = s.tracingCost(l, r.Cost)
	}
	l = s.devices(l, r.Devices, r.GPUStatus)
	l = l.count(`,"gpu_samples":`, r.GPUSamples)
	l = append(l, `,"gpu_peaks":[`...)
	for i := range r.RunPeak {
		l = comma(s.peak(l, &r.RunPeak[i]), i, len(r.RunPeak))
	}
	if err := s.end(append(l, ']')); err != nil {
		return err
	}
	return s.Flush()
}

func (s *Sink) violations(l line, r *stream.Summary) line {
	l = l.count(`,"violations":{"total":`, r.ViolationTotal)
	l = append(l, `,"distinct":[`...)
	for i := range r.Violations {
		v := &r.Violations[i]
		l = l.count(`{"count":`, v.Count)
		l = l.integer(`,"timestamp_ns":`, v.First.Unix)
		l = l.integer(`,"monotonic_ns":`, v.First.Time)
		l = append(s.violation(l, &v.First), '}')
		l = comma(l, i, len(r.Violations))
	}
	return append(l, `]}`...)
}

// openPhases appends what was open at the end.
func (s *Sink) openPhases(l line, r *stream.Summary) line {
	l = l.count(`,"open_phases":{"total":`, r.OpenTotal)
	l = append(l, `,"longest":[`...)
	for i := range r.Open {
		o := &r.Open[i]
		l = s.path(l, `{"path":`, o.Path)
		l = s.scope(l, `,"scope_id":`, o.SessionID, o.Scope)
		l = l.textOrNull(`,"lane":`, o.Lane)
		l = s.where(l, o.Thread)
		l = l.integer(`,"start_monotonic_ns":`, o.Since)
		l = l.integer(`,"open_ns":`, r.Time-o.Since)
		if len(o.Attributes) > 0 {
			l = appendObject(append(l, `,"attributes":`...), o.Attributes)
		}
		l = comma(append(l, '}'), i, len(r.Open))
	}
	return append(l, `]}`...)
}

func findings(l line, r *stream.Summary) line {
	l = append(l, `,"zero_sites":[`...)
	for i := range r.ZeroSites {
		z := &r.ZeroSites[i]
		l = marker(l, `{"marker":`, &z.Marker)
		l = append(l.textOrNull(`,"remedy":`, z.Remedy), '}')
		l = comma(l, i, len(r.ZeroSites))
	}
	l = append(l, `],"notes":[`...)
	for i := range r.Notes {
		l = l.text(`{"what":`, r.Notes[i].What)
		l = append(l.count(`,"count":`, r.Notes[i].Count), '}')
		l = comma(l, i, len(r.Notes))
	}
	return append(l, ']')
}

func (s *Sink) peak(l line, p *stream.RunPeak) line {
	l = s.device(append(l, '{'), p.Device)
	l = l.bytes(`,"used_bytes":`, p.Used)
	if p.Used.Known {
		l = l.integer(`,"monotonic_ns":`, p.Time)
	} else {
		l = append(l, `,"monotonic_ns":null`...)
	}
	return append(s.attribution(l, `,"phase":`, &p.Phase), '}')
}
