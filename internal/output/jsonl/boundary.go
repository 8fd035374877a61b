// SPDX-License-Identifier: Apache-2.0

package jsonl

import (
	"strconv"

	"github.com/phasetrace/phasetrace/internal/gpu"
	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// boundary writes phase_enter or phase_exit.
func (s *Sink) boundary(b *stream.Boundary) error {
	exit := b.Action == recorder.Exit
	p := s.paths.get(b.Path)
	l := s.begin(b.EventType(), b.Unix, b.Time)
	l = l.integer(`,"rank":`, int64(b.Rank))
	l = s.thread(l, b.Thread)
	if exit {
		l = append(l, `,"context":"Phase exited: `...)
	} else {
		l = append(l, `,"context":"Phase entered: `...)
	}
	l = append(l, p.context...)
	l = s.scope(append(l, '"'), `,"scope_id":`, b.SessionID, b.Scope)
	l = append(append(l, `,"path":`...), p.full...)
	if exit {
		l = ended(l, b)
	}
	if b.Synthetic != stream.ReasonNone {
		l = l.text(`,"synthetic":`, string(b.Synthetic))
	}
	if b.Lane != "" {
		l = l.text(`,"lane":`, b.Lane)
	}
	if b.Keyed { // a string: 64-bit numbers do not survive many JSON readers
		l = append(b.Key.Append(append(l, `,"key":"`...)), '"')
	}
	l = s.phaseScope(append(l, `,"metadata":{`...), b, p)
	l = s.measured(l, b, exit)
	return s.end(append(l, '}'))
}

// ended appends what only an exit tells.
func ended(l line, b *stream.Boundary) line {
	l = l.integer(`,"duration_ns":`, b.Duration)
	l = l.integer(`,"self_ns":`, b.Self)
	if b.Doubt != stream.DoubtNone {
		l = l.text(`,"duration_unknown":`, string(b.Doubt))
	}
	if len(b.ExitAttributes) > 0 {
		l = appendObject(append(l, `,"exit_attributes":`...), b.ExitAttributes)
	}
	return l
}

// thread appends host and process, and the thread's ids in other namespaces where
// they differ. The recorder's thread id is in phase_scope.
func (s *Sink) thread(l line, t *stream.Thread) line {
	l = append(l, s.host...)
	if t == nil || t.Process == nil {
		return append(l, `,"pid":null`...)
	}
	p := t.Process
	return threadIDs(ids(l, p), t)
}

// threadIDs appends a thread's ids in other namespaces where they differ.
func threadIDs(l line, t *stream.Thread) line {
	if t.HostTID != 0 && t.HostTID != t.TID {
		l = l.integer(`,"host_thread_id":`, int64(t.HostTID))
	}
	if t.ContainerTID != 0 && t.ContainerTID != t.TID {
		l = l.integer(`,"container_thread_id":`, int64(t.ContainerTID))
	}
	return l
}

// ids appends a process's id, and those in other namespaces where they differ.
func ids(l line, p *stream.Process) line {
	l = l.integer(`,"pid":`, int64(p.PID))
	if p.HostPID != 0 && p.HostPID != p.PID {
		l = l.integer(`,"host_pid":`, int64(p.HostPID))
	}
	if p.ContainerPID != 0 && p.ContainerPID != p.PID {
		l = l.integer(`,"container_pid":`, int64(p.ContainerPID))
	}
	return l
}

// scope appends a scope id, null for scope 0.
func (s *Sink) scope(l line, key, session string, scope uint64) line {
	if scope == 0 {
		return l.null(key)
	}
	l = append(append(l, key...), '"')
	if session == s.rawID {
		l = append(l, s.session...)
	} else {
		l = appendInside(l, session)
	}
	l = strconv.AppendUint(append(l, ':'), scope, 10)
	return append(l, '"')
}

func (s *Sink) phaseScope(l line, b *stream.Boundary, p *encodedPath) line {
	l = append(l, `"phase_scope":{"action":"`...)
	l = append(l, b.Action.String()...)
	l = append(append(l, `","name":`...), p.name...)
	l = append(append(l, `,"path":`...), p.array...)
	l = l.integer(`,"depth":`, int64(b.Path.Depth()))
	l = s.scope(l, `,"scope_id":`, b.SessionID, b.Scope)
	l = s.scope(l, `,"parent_scope_id":`, b.SessionID, b.Parent)
	l = l.integer(`,"thread_id":`, int64(b.ThreadID))
	l = l.text(`,"thread_name":`, b.ThreadName)
	l = l.count(`,"sequence":`, b.Sequence)
	if len(b.Attributes) > 0 {
		l = appendObject(append(l, `,"attributes":`...), b.Attributes)
	}
	return append(l, '}')
}

// measured appends the rest of a boundary's metadata.
func (s *Sink) measured(l line, b *stream.Boundary, exit bool) line {
	if b.Marker != nil {
		l = l.text(`,"marker":{"provider":`, b.Marker.Provider)
		l = append(outcome(l.text(`,"probe":`, b.Marker.Probe), b.Marker), '}')
	}
	if b.Cut != 0 {
		l = cut(l, b.Cut)
	}
	if t := b.ExitThread; t != nil {
		l = l.integer(`,"exit_thread":{"thread_id":`, int64(t.TID))
		l = append(threadIDs(l, t).text(`,"thread_name":`, t.Name), '}')
	}
	if exit {
		l = counters(l, b)
	}
	l = resident(l, &b.Resident, exit)
	l = append(l, `,"gpu":[`...)
	for i := range b.GPU {
		if i > 0 {
			l = append(l, ',')
		}
		var process gpu.ProcessReading
		if i < len(b.ProcessGPU) {
			process = b.ProcessGPU[i]
		}
		l = s.reading(l, &b.GPU[i], &process, exit)
	}
	return append(l, ']')
}

func cut(l line, c recorder.Cut) line {
	l = append(l, `,"cut":[`...)
	from := len(l)
	for _, f := range [...]struct {
		flag recorder.Cut
		name string
	}{{recorder.CutName, `"name"`}, {recorder.CutPath, `"path"`}, {recorder.CutAttributes, `"attributes"`}} {
		if c&f.flag == 0 {
			continue
		}
		if len(l) > from {
			l = append(l, ',')
		}
		l = append(l, f.name...)
	}
	return append(l, ']')
}

func counters(l line, b *stream.Boundary) line {
	if !b.HasCounters {
		return append(l, `,"thread":null`...)
	}
	l = l.count(`,"thread":{"voluntary_switches":`, uint64(b.Counters.VoluntarySwitches))
	l = l.count(`,"involuntary_switches":`, uint64(b.Counters.InvoluntarySwitches))
	l = l.count(`,"minor_faults":`, uint64(b.Counters.MinorFaults))
	l = l.count(`,"major_faults":`, uint64(b.Counters.MajorFaults))
	return append(l, '}')
}

func resident(l line, r *stream.Resident, exit bool) line {
	l = append(l, `,"host_memory":{"resident_bytes":`...)
	if r.Known {
		l = l.count(``, r.Bytes)
		l = l.count(`,"error_bytes":`, r.Error)
		l = l.flag(`,"exact":`, r.Error == 0)
		l = append(l, `,"status":"ok"`...)
	} else {
		l = append(l, `null,"error_bytes":null,"exact":false,"status":"not_available"`...)
	}
	switch {
	case exit && r.ChangeKnown:
		l = l.integer(`,"change_bytes":`, r.Change)
	case exit:
		l = append(l, `,"change_bytes":null`...)
	}
	return append(l, '}')
}

func (s *Sink) reading(l line, r *gpu.Reading, p *gpu.ProcessReading, exit bool) line {
	l = s.device(append(l, '{'), r.Device)
	l = l.bytes(`,"used_bytes":`, r.Used)
	l = l.bytes(`,"free_bytes":`, r.Free)
	l = l.bytes(`,"total_bytes":`, r.Total)
	l = l.bytes(`,"reserved_bytes":`, r.Reserved)
	l = l.bytes(`,"process_used_bytes":`, p.Used)
	if r.Status == gpu.StatusNoSample {
		l = append(l, `,"age_ns":null,"latency_ns":null`...)
	} else {
		l = l.integer(`,"age_ns":`, r.Age)
		l = l.integer(`,"latency_ns":`, r.Latency)
	}
	l = append(append(append(l, `,"status":"`...), r.Status.String()...), '"')
	l = around(l, r)
	if exit {
		l = l.change(`,"change_bytes":`, r.Change)
		low, high := interval(r.Change.Known, r.ChangeLow, r.ChangeHigh)
		l = l.change(`,"change_low_bytes":`, low)
		l = l.change(`,"change_high_bytes":`, high)
		l = doubts(l, `,"change_doubt":[`, r.ChangeDoubt)
		l = l.bytes(`,"peak_used_bytes":`, r.Peak)
		l = l.count(`,"samples":`, r.Samples)
	}
	if p.Status == gpu.StatusNoSample {
		l = append(l, `,"process_age_ns":null`...)
	} else {
		l = l.integer(`,"process_age_ns":`, p.Age)
	}
	l = append(append(l, `,"process_status":"`...), p.Status.String()...)
	if p.Status == gpu.StatusNoSample {
		return append(l, `","other_processes":null}`...)
	}
	return append(l.integer(`","other_processes":`, int64(p.Others)), '}')
}

// around appends what the reads on both sides of a boundary say.
func around(l line, r *gpu.Reading) line {
	l = l.bytes(`,"after_used_bytes":`, r.After)
	l = l.change(`,"after_age_ns":`, gpu.Delta{N: r.AfterAge, Known: r.After.Known})
	l = l.bytes(`,"low_bytes":`, gpu.Value{N: r.Low, Known: r.Used.Known})
	l = l.bytes(`,"high_bytes":`, gpu.Value{N: r.High, Known: r.Used.Known})
	return doubts(l, `,"doubt":[`, r.Doubt)
}

func interval(known bool, low, high int64) (gpu.Delta, gpu.Delta) {
	return gpu.Delta{N: low, Known: known}, gpu.Delta{N: high, Known: known}
}

// doubts appends the words of a set of reasons, after a key and its bracket.
func doubts(l line, key string, d gpu.Doubt) line {
	l = append(l, key...)
	first := true
	for word := range d.All {
		if !first {
			l = append(l, ',')
		}
		l, first = append(append(append(l, '"'), word...), '"'), false
	}
	return append(l, ']')
}
