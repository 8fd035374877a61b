// SPDX-License-Identifier: Apache-2.0

package jsonl

import (
	"slices"

	"github.com/phasetrace/phasetrace/internal/output/phrase"
	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
)

var (
	violationFields = newObject(slices.Concat(headFields(whereFields...), brokenFields)...)
	orphanFields    = newObject(slices.Concat(headFields(whereFields...), []field{
		{"reason", need, func(p *player) { p.orphan.Reason = stream.OrphanReason(p.string()) }},
		markerField,
	})...)
	lossFields = newObject(slices.Concat(headFields(whereFields...), []field{
		{"count", need, func(p *player) { p.loss.Count = p.unsigned() }},
	})...)
	droppedFields = newObject(headFields(
		hostField,
		field{"until_monotonic_ns", need, func(p *player) { p.dropped.Until = p.integer() }},
		missingField(func(p *player) *stream.Counts { return &p.dropped.Counts }),
	)...)
)

// brokenFields are those of a violation, without when and where it was.
var brokenFields = []field{
	{"context", optional, (*player).ignore},
	{"exit_thread_id", optional, func(p *player) { p.exitThread = p.number() }},
	{"kind", need, func(p *player) {
		name := p.string()
		var ok bool
		if p.broken.Kind, ok = violationKinds[name]; !ok {
			p.failf("%q is no kind of violation", name)
		}
	}},
	{"closing", need, func(p *player) { p.broken.Closing, p.violation.ClosingStart = p.readScope() }},
	{"top", need, func(p *player) { p.broken.Top, p.violation.TopStart = p.readScope() }},
	markerField,
	{"repaired", need, func(p *player) { p.violation.Repaired = phrase.RepairOf(p.stringOrNull()) }},
}

var violationKinds = func() map[string]recorder.Kind {
	byName := make(map[string]recorder.Kind)
	for _, k := range []recorder.Kind{recorder.WrongThread, recorder.NoActivePhase, recorder.NotLIFO, recorder.UnknownScope} {
		byName[k.String()] = k
	}
	return byName
}()

// scopeFields are those of a scope of a violation.
var scopeFields = newObject(slices.Concat([]field{
	{"scope_id", need, (*player).readScopeID},
}, pathFields(innerPath), []field{
	{"open", need, func(p *player) { p.scope.Open = p.bool() }},
	{"thread_id", need, func(p *player) { p.scope.ThreadID = p.numberOrNull() }},
	{"thread_name", need, func(p *player) { p.scope.ThreadName = p.stringOrNull() }},
	{"lane", need, func(p *player) { p.scope.Lane = p.stringOrNull() }},
	{"start_timestamp_ns", optional, (*player).ignore},
	{"start_monotonic_ns", need, func(p *player) { p.since = p.delta().N }},
})...)

// readScopeID reads the id of a scope that need not be one of ours.
func (p *player) readScopeID() {
	id := p.stringOrNull()
	session, scope, ok := splitScopeID(id)
	switch {
	case id == "":
	case ok && scope != 0:
		p.scope.SessionID, p.scope.Scope = session, scope
	default:
		p.scope = recorder.ForeignScope(id)
	}
}

// readScope reads a scope of a violation and when it began; both are zero for
// null.
func (p *player) readScope() (recorder.ScopeRef, int64) {
	p.scope, p.since = recorder.ScopeRef{}, 0
	if !p.null() {
		p.ref.reset()
		p.object(scopeFields)
		p.scope.Path = p.path(&p.ref)
		if p.err == nil && !p.scope.Known() {
			p.failf("neither an id nor a path")
		}
	}
	return p.scope, p.since
}

// theViolation puts together what was read of one.
func (p *player) theViolation() *stream.Violation {
	v := &p.violation
	v.Thread, v.Marker = p.where(), p.marker
	broken := p.broken
	switch {
	case p.exitThread != 0:
		broken.ThreadID = p.exitThread
	case v.Thread != nil:
		broken.ThreadID = v.Thread.TID
	}
	for _, s := range []*recorder.ScopeRef{&broken.Closing, &broken.Top} {
		if s.Known() {
			s.Rank = int32(p.who.rank)
		}
	}
	v.Err = &broken
	return v
}

func (p *player) playViolation() error {
	v := p.theViolation()
	v.Time, v.Unix = p.time, p.unix
	return p.hand(v)
}

func (p *player) playOrphan() error {
	o := &p.orphan
	o.Time, o.Unix, o.Thread, o.Marker = p.time, p.unix, p.where(), p.marker
	return p.hand(o)
}

func (p *player) playLoss() error {
	l := &p.loss
	l.Time, l.Unix, l.Thread = p.time, p.unix, p.where()
	return p.hand(l)
}

func (p *player) playDropped() error {
	d := &p.dropped
	d.Time, d.Unix = p.time, p.unix
	p.report.Dropped.Merge(d.Counts)
	return p.hand(d)
}

// hand hands a record to the sink, unless it was refused.
func (p *player) hand(r stream.Record) error {
	if p.err != nil {
		return nil
	}
	return p.sink.Record(r)
}

// missingField reads how many records did not reach an output.
func missingField(of func(*player) *stream.Counts) field {
	count := func(name string, part func(*stream.Counts) *uint64) field {
		return field{name, need, func(p *player) { *part(of(p)) = p.unsigned() }}
	}
	pairs := count("pair_changes", func(c *stream.Counts) *uint64 { return &c.PairChanges })
	pairs.need = optional
	counts := newObject(
		pairs,
		field{"total", optional, (*player).ignore},
		count("boundaries", func(c *stream.Counts) *uint64 { return &c.Boundaries }),
		count("protocol_errors", func(c *stream.Counts) *uint64 { return &c.Violations }),
		count("orphan_exits", func(c *stream.Counts) *uint64 { return &c.Orphans }),
		count("records_lost", func(c *stream.Counts) *uint64 { return &c.Losses }),
		count("gpu_samples", func(c *stream.Counts) *uint64 { return &c.Samples }),
		count("process_changes", func(c *stream.Counts) *uint64 { return &c.ProcessChanges }),
	)
	return field{"dropped", need, func(p *player) { p.object(counts) }}
}
