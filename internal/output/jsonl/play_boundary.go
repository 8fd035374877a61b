// SPDX-License-Identifier: Apache-2.0

package jsonl

import (
	"slices"
	"strings"

	"github.com/phasetrace/phasetrace/internal/gpu"
	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// Fields of phase_enter and phase_exit, in the order in which they are written.
var (
	enterFields = boundaryFields(enterMetadata)
	exitFields  = boundaryFields(exitMetadata,
		field{"duration_ns", need, func(p *player) { p.boundary.Duration = p.integer() }},
		field{"self_ns", need, func(p *player) { p.boundary.Self = p.integer() }},
		field{"duration_unknown", optional, func(p *player) { p.boundary.Doubt = stream.Doubt(p.string()) }},
		field{"exit_attributes", optional, func(p *player) { p.boundary.ExitAttributes = p.readObject() }},
	)

	enterMetadata = metadataFields(enterMemory, enterReading)
	exitMetadata  = metadataFields(exitMemory, exitReading,
		field{"exit_thread", optional, func(p *player) { p.object(exitThreadFields) }},
		field{"thread", need, func(p *player) {
			if p.boundary.HasCounters = !p.null(); p.boundary.HasCounters {
				p.object(counterFields)
			}
		}},
	)
)

func boundaryFields(metadata *object, exit ...field) *object {
	return newObject(slices.Concat(headFields(threadFields...), []field{
		{"context", optional, (*player).ignore},
		{"scope_id", need, func(p *player) { p.boundary.SessionID, p.boundary.Scope = p.scopeID() }},
	}, pathFields(innerPath), exit, []field{
		{"synthetic", optional, func(p *player) { p.boundary.Synthetic = stream.Reason(p.string()) }},
		{"lane", optional, func(p *player) { p.boundary.Lane = p.string() }},
		{"key", optional, (*player).readKey},
		{"metadata", need, func(p *player) { p.object(metadata) }},
	})...)
}

func metadataFields(memory, reading *object, exit ...field) *object {
	return newObject(slices.Concat([]field{
		{"phase_scope", need, func(p *player) { p.object(phaseScopeFields) }},
		{"marker", optional, func(p *player) { p.readMarker(probeFields) }},
		{"cut", optional, func(p *player) { p.list((*player).readCut) }},
	}, exit, []field{
		{"host_memory", need, func(p *player) { p.object(memory) }},
		{"gpu", need, func(p *player) { p.list(func(p *player) { p.readReading(reading) }) }},
	})...)
}

// phaseScopeFields leaves out what the line says elsewhere.
var phaseScopeFields = newObject(
	field{"action", optional, (*player).ignore},
	field{"name", optional, (*player).ignore},
	field{"path", optional, (*player).ignore},
	field{"depth", optional, (*player).ignore},
	field{"scope_id", optional, (*player).ignore},
	field{"parent_scope_id", need, func(p *player) {
		if !p.null() {
			_, p.boundary.Parent = p.scopeID()
		}
	}},
	field{"thread_id", need, func(p *player) { p.boundary.ThreadID = p.number() }},
	field{"thread_name", need, func(p *player) { p.boundary.ThreadName = p.string() }},
	field{"sequence", need, func(p *player) { p.boundary.Sequence = p.unsigned() }},
	field{"attributes", optional, func(p *player) { p.boundary.Attributes = p.readObject() }},
)

// readObject returns a copy of an object that is valid until the next line.
func (p *player) readObject() []byte {
	from := len(p.attributes)
	p.attributes = append(p.attributes, p.raw()...)
	object := p.attributes[from:]
	if p.err == nil && object[0] != '{' {
		p.failf("%.40s: want an object", object)
	}
	return object
}

func (p *player) readKey() {
	text := p.string()
	k := &p.boundary.Key
	*k, p.boundary.Keyed = stream.Key{}, true
	for value := range strings.SplitSeq(text, "+") {
		n, ok := digits([]byte(value))
		if !ok || k.N == stream.MaxKeyValues {
			p.failf("%q: want up to %d integers of 64 bits, joined by +", text, stream.MaxKeyValues)
			return
		}
		k.Values[k.N] = n
		k.N++
	}
}

func (p *player) readCut() {
	switch what := p.string(); what {
	case "name":
		p.boundary.Cut |= recorder.CutName
	case "path":
		p.boundary.Cut |= recorder.CutPath
	case "attributes":
		p.boundary.Cut |= recorder.CutAttributes
	default:
		p.failf("%q: want name, path or attributes", what)
	}
}

var exitThreadFields = newObject(
	field{"thread_id", need, func(p *player) { p.exit.thread, p.exit.hasThread = p.number(), true }},
	field{"host_thread_id", optional, func(p *player) { p.exit.hostTID = p.number() }},
	field{"container_thread_id", optional, func(p *player) { p.exit.containerTID = p.number() }},
	field{"thread_name", need, func(p *player) { p.exit.name = p.string() }},
)

var counterFields = newObject(
	counterField("voluntary_switches", func(c *stream.Counters) *uint32 { return &c.VoluntarySwitches }),
	counterField("involuntary_switches", func(c *stream.Counters) *uint32 { return &c.InvoluntarySwitches }),
	counterField("minor_faults", func(c *stream.Counters) *uint32 { return &c.MinorFaults }),
	counterField("major_faults", func(c *stream.Counters) *uint32 { return &c.MajorFaults }),
)

func counterField(name string, of func(*stream.Counters) *uint32) field {
	return field{name, need, func(p *player) {
		n := p.unsigned()
		if n != uint64(uint32(n)) {
			p.failf("%d: want an integer of 32 bits", n)
		}
		*of(&p.boundary.Counters) = uint32(n)
	}}
}

var (
	enterMemory = newObject(memoryFields...)
	exitMemory  = newObject(append(slices.Clip(memoryFields), field{"change_bytes", need, func(p *player) {
		d := p.delta()
		p.boundary.Resident.Change, p.boundary.Resident.ChangeKnown = d.N, d.Known
	}})...)

	memoryFields = []field{
		{"resident_bytes", need, func(p *player) {
			v := p.bytes()
			p.boundary.Resident.Bytes, p.boundary.Resident.Known = v.N, v.Known
		}},
		{"error_bytes", need, func(p *player) { p.boundary.Resident.Error = p.bytes().N }},
		{"exact", optional, (*player).ignore},
		{"status", optional, (*player).ignore},
	}
)

var (
	enterReading = newObject(slices.Concat(readingFields, processReadingFields)...)
	exitReading  = newObject(slices.Concat(readingFields, []field{
		{"change_bytes", need, func(p *player) { p.reading.Change = p.delta() }},
		{"change_low_bytes", optional, func(p *player) { p.reading.ChangeLow = p.delta().N }},
		{"change_high_bytes", optional, func(p *player) { p.reading.ChangeHigh = p.delta().N }},
		{"change_doubt", optional, func(p *player) { p.readDoubt(&p.reading.ChangeDoubt) }},
		{"peak_used_bytes", need, func(p *player) { p.reading.Peak = p.bytes() }},
		{"samples", need, func(p *player) { p.reading.Samples = p.unsigned() }},
	}, processReadingFields)...)

	readingFields = []field{
		{"device_id", need, func(p *player) { p.reading.Device = p.number() }},
		{"uuid", optional, (*player).ignore},
		{"used_bytes", need, func(p *player) { p.reading.Used = p.bytes() }},
		{"free_bytes", need, func(p *player) { p.reading.Free = p.bytes() }},
		{"total_bytes", need, func(p *player) { p.reading.Total = p.bytes() }},
		{"reserved_bytes", need, func(p *player) { p.reading.Reserved = p.bytes() }},
		{"process_used_bytes", need, func(p *player) { p.process.Used = p.bytes() }},
		{"age_ns", need, func(p *player) { p.reading.Age = p.delta().N }},
		{"latency_ns", need, func(p *player) { p.reading.Latency = p.delta().N }},
		{"status", need, func(p *player) { p.reading.Status = p.status() }},
		{"after_used_bytes", optional, func(p *player) { p.reading.After = p.bytes() }},
		{"after_age_ns", optional, func(p *player) { p.reading.AfterAge = p.delta().N }},
		{"low_bytes", optional, func(p *player) { p.reading.Low = p.bytes().N }},
		{"high_bytes", optional, func(p *player) { p.reading.High = p.bytes().N }},
		{"doubt", optional, func(p *player) { p.readDoubt(&p.reading.Doubt) }},
	}
	processReadingFields = []field{
		{"process_age_ns", need, func(p *player) { p.process.Age = p.delta().N }},
		{"process_status", need, func(p *player) { p.process.Status = p.status() }},
		{"other_processes", optional, func(p *player) { p.process.Others = int(p.delta().N) }},
	}
)

func (p *player) readDoubt(set *gpu.Doubt) {
	p.list(func(p *player) {
		word := p.string()
		d := gpu.DoubtOf(word)
		if d == 0 {
			p.failf("%q: not a reason for doubt", word)
		}
		*set |= d
	})
}

func (p *player) readReading(fields *object) {
	p.reading, p.process = gpu.Reading{}, gpu.ProcessReading{}
	p.object(fields)
	p.readings = append(p.readings, p.reading)
	p.processGPU = append(p.processGPU, p.process)
}

// playBoundary hands on a phase_enter or phase_exit.
func (p *player) playBoundary(action recorder.Action) error {
	b := &p.boundary
	b.Action, b.Time, b.Unix = action, p.time, p.unix
	b.Path = p.path(&p.ref)
	if b.Path == nil || b.Scope == 0 || !p.who.hasRank {
		p.failf("path, scope_id or rank: want one")
		return nil
	}
	b.Rank = int32(p.who.rank)
	// The rank is the scope's: the process's may have changed since.
	w := p.who
	w.hasRank, w.hasThread, w.thread, w.name = false, true, b.ThreadID, b.ThreadName
	b.Thread = p.threadOf(&w)
	if p.exit.hasThread {
		p.exit.hasProcess, p.exit.pid, p.exit.hostPID, p.exit.containerPID = w.hasProcess, w.pid, w.hostPID, w.containerPID
		b.ExitThread = p.threadOf(&p.exit)
	}
	b.Marker = p.marker
	if len(p.readings) > 0 {
		b.GPU = p.readings
	}
	if slices.ContainsFunc(p.processGPU, func(r gpu.ProcessReading) bool { return r != gpu.ProcessReading{} }) {
		b.ProcessGPU = p.processGPU
	}
	if p.err != nil {
		return nil
	}
	return p.sink.Record(b)
}
