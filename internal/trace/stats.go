// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"time"

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
func (s *statistics) closed(b *Boundary, self int64) {
	s.boundaries++
	f := s.path(b.Path)
	f.count++
	f.open--
	if b.Synthetic != ReasonNone {
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

func (f *pathFigures) export() PathStats {
	return PathStats{
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
func (s *statistics) notes(r recorder.Stats) []Note {
	var out []Note
	for _, n := range []Note{
		{"phase names that were null, empty or unreadable", s.badNames},
		{"phase names cut at 255 bytes", s.cutNames},
		{"attributes cut at 1022 bytes", s.cutAttributes},
		{"attributes whose memory could not be read", s.unreadableAttributes},
		{"attributes that are no JSON object, kept as text under \"raw\"", s.invalidAttributes},
		{"enters beyond the limit of nested phases on one thread, not traced", s.tooDeep},
		{"enters beyond the limit of open phases, not traced", s.tooMany},
		{"enters not traced for another reason", s.refused},
		{"enters beyond the limit of open phases of keyed pairs, not traced", s.tooManyKeyed},
		{"exits of phases that had been closed for them after a violation or a loss", s.late},
		{"markers hit while probes were being attached or removed, left out", s.outside},
		{"durations that count in totals but not in quantiles, because there are too many phases", s.unsorted},
		{"violations counted only in total, because there are too many different ones", s.moreDefects},
		{"threads beyond the limit, not traced", s.threadsRefused},
		{"processes beyond the limit, not traced", s.processesRefused},
		{"markers of threads that are not traced", s.untraced},
		{"attributes left out because there were too many at once", r.AttributesDropped},
		{"records that phasetrace itself mishandled: please report this", s.strangers},
		{"phases booked under \"(other)\" because there are too many paths", r.PathsOverflowed},
	} {
		if n.Count > 0 {
			out = append(out, n)
		}
	}
	return out
}
