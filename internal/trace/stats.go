// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"time"

	"github.com/phasetrace/phasetrace/internal/stream"

	"github.com/phasetrace/phasetrace/internal/recorder"
)

// statistics of a session. Paths are dense, so a path's figures are one index
// away.
type statistics struct {
	paths  []*pathFigures // by Path.ID
	blocks int            // histogram blocks that may still be made

	markers    uint64 // records of markers handled
	boundaries uint64
	synthetic  uint64
	orphans    uint64
	lost       uint64

	unsorted             uint64 // durations that no histogram had room for
	tooDeep              uint64 // enters beyond the depth limit
	tooMany              uint64 // enters beyond the limit of open scopes
	refused              uint64 // enters refused for other reasons
	tooManyKeyed         uint64 // enters beyond the limit of open keyed scopes
	late                 uint64 // exits of scopes that a repair had closed
	outside              uint64 // markers hit while probes were attached or detached
	moreDefects          uint64 // violations not told apart any more
	badNames             uint64 // names null, empty or unreadable
	cutNames             uint64
	cutAttributes        uint64
	unreadableAttributes uint64
	invalidAttributes    uint64 // no JSON object where a marker promises one
	threadsRefused       uint64
	processesRefused     uint64
	untraced             uint64 // markers of threads that were refused
	strangers            uint64 // defects of phasetrace itself
}

type pathFigures struct {
	path      *recorder.Path
	count     uint64
	synthetic uint64
	open      uint64
	total     int64
	self      int64
	min, max  int64
	hist      histogram

	residentChange int64
	residentPeak   uint64
}

func (s *statistics) path(p *recorder.Path) *pathFigures {
	id := p.ID()
	for id >= len(s.paths) {
		s.paths = append(s.paths, nil)
	}
	f := s.paths[id]
	if f == nil {
		f = &pathFigures{path: p}
		s.paths[id] = f
	}
	return f
}

// closed counts an exit; self is its time less that of inner scopes.
func (s *statistics) closed(b *stream.Boundary, self int64) {
	s.boundaries++
	f := s.path(b.Path)
	f.count++
	f.open--
	if b.Synthetic != stream.ReasonNone {
		s.synthetic++
		f.synthetic++
		return
	}
	f.total += b.Duration
	f.self += max(self, 0)
	if b.Duration > f.max {
		f.max = b.Duration
	}
	if f.count-f.synthetic == 1 || b.Duration < f.min {
		f.min = b.Duration
	}
	if !f.hist.add(uint64(b.Duration), &s.blocks) {
		s.unsorted++
	}
	if b.Resident.ChangeKnown {
		f.residentChange += b.Resident.Change
	}
	f.residentPeak = max(f.residentPeak, b.Resident.Bytes)
}

func (f *pathFigures) export() stream.PathStats {
	return stream.PathStats{
		Path: f.path, Count: f.count, Synthetic: f.synthetic, Open: f.open,
		Total: time.Duration(f.total), Self: time.Duration(f.self),
		P50: f.clamp(f.hist.quantile(0.5)), P99: f.clamp(f.hist.quantile(0.99)),
		Max: time.Duration(f.max), Min: time.Duration(f.min),
		ResidentChange: f.residentChange, ResidentPeak: f.residentPeak,
	}
}

// clamp keeps a quantile within what was really seen.
func (f *pathFigures) clamp(v uint64) time.Duration {
	return time.Duration(min(max(int64(v), f.min), f.max))
}

// notes lists what the user should know.
func (s *statistics) notes(r recorder.Stats) []stream.Note {
	var out []stream.Note
	for _, n := range []stream.Note{
		{What: "phase names that were null, empty or unreadable", Count: s.badNames},
		{What: "phase names cut at 255 bytes", Count: s.cutNames},
		{What: "attributes cut at 1022 bytes", Count: s.cutAttributes},
		{What: "attributes whose memory could not be read", Count: s.unreadableAttributes},
		{What: "attributes that are no JSON object, kept as text under \"raw\"", Count: s.invalidAttributes},
		{What: "enters beyond the limit of nested phases on one thread, not traced", Count: s.tooDeep},
		{What: "enters beyond the limit of open phases, not traced", Count: s.tooMany},
		{What: "enters not traced for another reason", Count: s.refused},
		{What: "enters beyond the limit of open phases of keyed pairs, not traced", Count: s.tooManyKeyed},
		{What: "exits of phases that had been closed for them after a violation or a loss", Count: s.late},
		{What: "markers hit while probes were being attached or removed, left out", Count: s.outside},
		{What: "durations that count in totals but not in quantiles, because there are too many phases", Count: s.unsorted},
		{What: "violations counted only in total, because there are too many different ones", Count: s.moreDefects},
		{What: "threads beyond the limit, not traced", Count: s.threadsRefused},
		{What: "processes beyond the limit, not traced", Count: s.processesRefused},
		{What: "markers of threads that are not traced", Count: s.untraced},
		{What: "attributes left out because there were too many at once", Count: r.AttributesDropped},
		{What: "records that phasetrace itself mishandled: please report this", Count: s.strangers},
		{What: "phases booked under \"(other)\" because there are too many paths", Count: r.PathsOverflowed},
	} {
		if n.Count > 0 {
			out = append(out, n)
		}
	}
	return out
}
