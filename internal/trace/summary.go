// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"slices"
	"time"

	"github.com/phasetrace/phasetrace/internal/stream"

	"github.com/phasetrace/phasetrace/internal/clock"

	"golang.org/x/sys/unix"
)

func kernelRelease() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

func (s *session) summary(reason string, now int64) (*stream.Summary, error) {
	s.clock.Look()
	st, err := s.tracer.Stats()
	e := &s.engine.stats
	sum := &stream.Summary{
		SessionID: s.o.SessionID, Time: now, Unix: s.clock.At(now),
		Elapsed: time.Duration(now - s.started), EndReason: reason,
		Boundaries: e.boundaries, Synthetic: e.synthetic,
		Received: st.Received, Lost: max(st.Lost+st.LostNoState, e.lost), LostOther: st.LostLifecycle,
		Orphans: e.orphans, Violations: s.engine.defects.sorted(), ViolationTotal: s.engine.defects.total,
		GPUStatus: s.o.GPUStatus,
	}
	sum.Notes = e.notes(s.engine.rec.Stats())
	for _, n := range []stream.Note{
		{What: "records that could not be decoded: please report this", Count: st.Malformed},
		{What: "marker hits for which the kernel did not run the program", Count: st.Missed},
		{What: "lost markers not known of which thread", Count: st.Unattributed},
		{What: "sites that could not be attached", Count: uint64(s.attached.failures)},
		{What: "warnings not shown, because there were too many", Count: uint64(s.choice.unsaid)},
		{What: "files that could not be read: markers in them, if any, are not traced", Count: uint64(s.unread)},
		{What: "sites left alone because this kernel cannot probe their nops safely", Count: uint64(s.choice.refused)},
	} {
		if n.Count > 0 {
			sum.Notes = append(sum.Notes, n)
		}
	}
	sum.Notes = slices.Concat(sum.Notes, s.queue.notes(), clockNotes(s.clock), s.lateNotes(), s.halfDead())
	s.sumPaths(sum)
	s.count.summarise(sum)
	s.sumSites(sum)
	return sum, err
}

func (s *session) sumPaths(sum *stream.Summary) {
	for id, f := range s.engine.stats.paths {
		if f == nil {
			continue
		}
		p := f.export()
		if g := s.queue.gpu; g != nil {
			p.GPU = g.byPath[id]
		}
		sum.Paths = append(sum.Paths, p)
	}
	if g := s.queue.gpu; g != nil {
		sum.Devices, sum.GPUSamples = g.devices, g.samples
		for _, d := range g.devices {
			if p, ok := g.peaks[d.ID]; ok {
				sum.RunPeak = append(sum.RunPeak, p)
			}
		}
	}
}

func (s *session) sumSites(sum *stream.Summary) {
	for _, site := range s.engine.sites {
		if site.hits == 0 && site.attached && site.over == nil {
			sum.ZeroSites = append(sum.ZeroSites, stream.ZeroSite{Marker: site.Marker, Remedy: site.pair.spec.Requires})
		}
	}
}

// clockNotes says what the clocks did that a reader of times must know.
func clockNotes(c *clock.Unix) []stream.Note {
	var out []stream.Note
	if n := c.Steps(); n > 0 {
		out = append(out, stream.Note{What: "times the system's clock was set: compare Unix times from before and after with care, monotonic times are right", Count: n})
	}
	if ms := c.Suspended().Milliseconds(); ms > 0 {
		out = append(out, stream.Note{What: "milliseconds for which the machine was suspended, which no duration counts", Count: uint64(ms)})
	}
	return out
}
