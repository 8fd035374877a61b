// SPDX-License-Identifier: Apache-2.0

package jsonl

import (
	"slices"
	"time"

	"github.com/phasetrace/phasetrace/internal/gpu"
	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
)

var startFields = newObject(headFields(
	hostField,
	field{"schema_version", need, func(p *player) {
		if v := p.integer(); p.err == nil && v != Version {
			p.failf("%d: this phasetrace reads version %d", v, Version)
		}
	}},
	field{"version", need, func(p *player) { p.start.Version = p.string() }},
	field{"kernel", need, func(p *player) { p.start.Kernel = p.stringOrNull() }},
	field{"processes", need, func(p *player) {
		p.list(func(p *player) {
			p.told, p.who = stream.Process{}, who{}
			p.object(describedFields)
			p.start.Processes = append(p.start.Processes, p.described())
		})
	}},
	field{"pairs", need, func(p *player) {
		p.list(func(p *player) {
			p.start.Pairs = append(p.start.Pairs, stream.PairInfo{})
			p.object(pairFields)
		})
	}},
	devicesField(func(p *player) *[]gpu.Device { return &p.start.Devices }),
	field{"gpu_status", need, func(p *player) { p.start.GPUStatus = p.stringOrNull() }},
	field{"where", optional, func(p *player) { p.start.Where = p.string() }},
)...)

func (p *player) playStart() error {
	p.start.Time, p.start.Unix = p.time, p.unix
	p.start.SessionID, p.start.Host = p.sessionID, p.unquote(p.host)
	for _, d := range p.start.Devices {
		p.devices[d.ID] = d
	}
	if p.err != nil {
		return nil
	}
	p.started = true
	return p.sink.Start(&p.start)
}

var titleField = field{"title", optional, func(p *player) { p.told.Title = p.stringOrNull() }}

// processInfo is what a line says of a process besides its ids.
var processInfo = []field{
	{"comm", need, func(p *player) { p.told.Comm = p.stringOrNull() }},
	{"exe", need, func(p *player) { p.told.Exe = p.stringOrNull() }},
	titleField,
	{"rank", need, func(p *player) { p.told.Rank = int32(p.number()) }},
	{"rank_source", need, func(p *player) { p.told.RankSource = p.stringOrNull() }},
	{"parent_pid", need, func(p *player) { p.told.Parent = p.numberOrNull() }},
}

var (
	describedFields    = newObject(slices.Concat(processFields, processInfo)...)
	processStartFields = newObject(slices.Concat(headFields(hostField), processFields, processInfo, []field{
		{"exec", need, func(p *player) { p.change.Exec = p.bool() }},
	})...)
	processExitFields = newObject(slices.Concat(headFields(hostField), processFields, []field{
		processInfo[0],
		titleField,
		{"exit_code", need, func(p *player) { p.change.ExitCode |= p.numberOrNull() & 0xff << 8 }},
		{"signal", need, func(p *player) { p.signal = p.numberOrNull() & 0x7f }},
		{"core_dumped", need, func(p *player) {
			if p.change.HasExit = !p.null(); p.change.HasExit && p.bool() {
				p.change.ExitCode |= 0x80
			}
		}},
		{"removed", optional, func(p *player) { p.change.Removed = p.bool() }},
		{"in", optional, func(p *player) {
			p.list(func(p *player) { p.change.In = append(p.change.In, p.string()) })
		}},
	})...)
)

var processTitleFields = newObject(slices.Concat(headFields(hostField), processFields, []field{
	titleField,
	{"former_title", need, func(p *player) { p.change.Before = p.stringOrNull() }},
})...)

// playProcessTitle gives a process another title: it is another value from now on.
func (p *player) playProcessTitle() error {
	if p.err == nil && !p.who.hasProcess {
		p.failf("pid: want one")
		return nil
	}
	p.change.Time, p.change.Unix, p.change.Titled, p.change.Process = p.time, p.unix, true, p.retitled()
	return p.hand(&p.change)
}

// retitled returns the process of a line that tells its title.
func (p *player) retitled() *stream.Process {
	known := p.processOf(&p.who)
	if known.Title == p.told.Title {
		return known
	}
	fresh := *known
	fresh.Title = p.told.Title
	p.processes[fresh.PID] = &fresh
	return &fresh
}

// described returns the process that was read; from now on its PID means this
// process.
func (p *player) described() *stream.Process {
	if p.err == nil && !p.who.hasProcess {
		p.failf("pid: want one")
	}
	told := p.told
	told.PID = p.who.pid
	told.HostPID, told.ContainerPID = or(p.who.hostPID, told.PID), or(p.who.containerPID, told.PID)
	p.processes[told.PID] = &told
	return &told
}

func (p *player) playProcessStart() error {
	c := &p.change
	c.Time, c.Unix, c.Process, c.Started = p.time, p.unix, p.described(), true
	return p.hand(c)
}

func (p *player) playProcessExit() error {
	c := &p.change
	c.ExitCode |= p.signal
	known := p.processes[p.who.pid]
	if known != nil && p.who.hasProcess && p.processOf(&p.who) == known && known.Comm == p.told.Comm {
		c.Process = p.retitled()
	} else {
		c.Process = p.described()
	}
	c.Time, c.Unix = p.time, p.unix
	return p.hand(c)
}

// last returns the last element of what is being read.
func last[T any](s []T) *T { return &s[len(s)-1] }

func lastPair(p *player) *stream.PairInfo { return last(p.start.Pairs) }

var pairFields = newObject(
	field{"name", need, func(p *player) { lastPair(p).Name = p.string() }},
	field{"provider", need, func(p *player) { lastPair(p).Provider = p.string() }},
	field{"enter", need, func(p *player) { lastPair(p).Enter = p.string() }},
	field{"exits", need, func(p *player) {
		p.list(func(p *player) { lastPair(p).Exits = append(lastPair(p).Exits, p.string()) })
	}},
	field{"lane", need, func(p *player) { lastPair(p).Lane = p.stringOrNull() }},
	field{"origin", need, func(p *player) { lastPair(p).Origin = p.stringOrNull() }},
	field{"sites", need, func(p *player) { lastPair(p).Sites = p.number() }},
)

// devicesField reads the devices into a list.
func devicesField(of func(*player) *[]gpu.Device) field {
	device := func(p *player) *gpu.Device { return last(*of(p)) }
	fields := newObject(
		field{"device_id", need, func(p *player) { device(p).ID = p.number() }},
		field{"uuid", need, func(p *player) { device(p).UUID = p.stringOrNull() }},
		field{"index", need, func(p *player) { device(p).Index = p.number() }},
		field{"mig_instance", need, func(p *player) {
			if device(p).MIG = -1; !p.null() {
				device(p).MIG = p.number()
			}
		}},
		field{"name", need, func(p *player) { device(p).Name = p.stringOrNull() }},
	)
	return field{"devices", need, func(p *player) {
		p.list(func(p *player) {
			*of(p) = append(*of(p), gpu.Device{})
			p.object(fields)
		})
	}}
}

// endFields are those of session_end.
var endFields = newObject(slices.Concat(headFields(
	hostField,
	field{"elapsed_ns", need, func(p *player) { p.summary.Elapsed = time.Duration(p.integer()) }},
	field{"end_reason", need, func(p *player) { p.summary.EndReason = p.string() }},
	field{"records", need, func(p *player) { p.object(receivedFields) }},
	sumField("lost_other", func(s *stream.Summary) *uint64 { return &s.LostOther }),
	sumField("boundaries", func(s *stream.Summary) *uint64 { return &s.Boundaries }),
	sumField("synthetic", func(s *stream.Summary) *uint64 { return &s.Synthetic }),
	sumField("orphans", func(s *stream.Summary) *uint64 { return &s.Orphans }),
	field{"orphan_reasons", need, func(p *player) {
		p.list(func(p *player) {
			p.summary.OrphanReasons = append(p.summary.OrphanReasons, stream.OrphanCount{})
			p.object(orphanReasonFields)
		})
	}},
	missingField(func(p *player) *stream.Counts { return &p.summary.Dropped }),
	field{"left_out", optional, func(p *player) { p.summary.LeftOut = p.unsigned() }},
	field{"violations", need, func(p *player) { p.object(violationsFields) }},
	groupedField,
), phaseListFields, openFields, findingFields, []field{
	costField,
	partsField,
	devicesField(func(p *player) *[]gpu.Device { return &p.summary.Devices }),
	{"gpu_status", need, func(p *player) { p.summary.GPUStatus = p.stringOrNull() }},
	sumField("gpu_samples", func(s *stream.Summary) *uint64 { return &s.GPUSamples }),
	{"gpu_peaks", need, func(p *player) {
		p.list(func(p *player) {
			p.summary.RunPeak = append(p.summary.RunPeak, stream.RunPeak{})
			p.object(peakFields)
		})
	}},
})...)

func sumField(name string, of func(*stream.Summary) *uint64) field {
	return field{name, need, func(p *player) { *of(&p.summary) = p.unsigned() }}
}

var orphanReasonFields = newObject(
	field{"reason", need, func(p *player) { last(p.summary.OrphanReasons).Reason = stream.OrphanReason(p.string()) }},
	field{"count", need, func(p *player) { last(p.summary.OrphanReasons).Count = p.unsigned() }},
)

var receivedFields = newObject(
	sumField("received", func(s *stream.Summary) *uint64 { return &s.Received }),
	sumField("lost", func(s *stream.Summary) *uint64 { return &s.Lost }),
)

var violationsFields = newObject(
	sumField("total", func(s *stream.Summary) *uint64 { return &s.ViolationTotal }),
	field{"distinct", need, func(p *player) { p.list((*player).readViolation) }},
)

func lastViolation(p *player) *stream.ViolationCount { return last(p.summary.Violations) }

var distinctFields = newObject(slices.Concat([]field{
	{"count", need, func(p *player) { lastViolation(p).Count = p.unsigned() }},
	{"timestamp_ns", need, func(p *player) { p.violation.Unix = p.integer() }},
	{"monotonic_ns", need, func(p *player) { p.violation.Time = p.integer() }},
}, whereFields, brokenFields)...)

func (p *player) readViolation() {
	p.violation, p.broken, p.who, p.exitThread = stream.Violation{}, recorder.ProtocolError{}, who{}, 0
	p.summary.Violations = append(p.summary.Violations, stream.ViolationCount{})
	p.object(distinctFields)
	lastViolation(p).First = *p.theViolation()
}

// findingFields are what was not traced, and what a user should know besides.
var findingFields = []field{
	{"zero_sites", need, func(p *player) {
		p.list(func(p *player) {
			p.summary.ZeroSites = append(p.summary.ZeroSites, stream.ZeroSite{})
			p.object(zeroSiteFields)
		})
	}},
	{"notes", need, func(p *player) {
		p.list(func(p *player) {
			p.summary.Notes = append(p.summary.Notes, stream.Note{})
			p.object(noteFields)
		})
	}},
}

var zeroSiteFields = newObject(
	field{"marker", need, func(p *player) {
		if p.readMarker(siteFields); p.marker != nil {
			last(p.summary.ZeroSites).Marker = *p.marker
		}
	}},
	field{"remedy", need, func(p *player) { last(p.summary.ZeroSites).Remedy = p.stringOrNull() }},
)

var noteFields = newObject(
	field{"what", need, func(p *player) { last(p.summary.Notes).What = p.string() }},
	field{"count", need, func(p *player) { last(p.summary.Notes).Count = p.unsigned() }},
)

func lastPeak(p *player) *stream.RunPeak { return last(p.summary.RunPeak) }

var peakFields = newObject(
	field{"device_id", need, func(p *player) { lastPeak(p).Device = p.number() }},
	field{"uuid", optional, (*player).ignore},
	field{"used_bytes", need, func(p *player) { lastPeak(p).Used = p.bytes() }},
	field{"monotonic_ns", need, func(p *player) { lastPeak(p).Time = p.delta().N }},
	field{phaseField.name, need, func(p *player) {
		phaseField.read(p)
		lastPeak(p).Phase = p.phase
		lastPeak(p).Phase.Candidates = slices.Clone(p.phase.Candidates)
	}},
)

func (p *player) playEnd() error {
	s := &p.summary
	s.SessionID, s.Time, s.Unix = p.sessionID, p.time, p.unix
	if p.err != nil {
		return nil
	}
	p.report.Ended = true
	return p.sink.End(s)
}
