// SPDX-License-Identifier: Apache-2.0

package session

import (
	"slices"
	"time"

	"github.com/phasetrace/phasetrace/internal/engine"

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
	e := s.engine.Stats()
	sum := &stream.Summary{
		SessionID: s.o.SessionID, Time: now, Unix: s.clock.At(now),
		Elapsed: time.Duration(now - s.started), EndReason: reason,
		Received: st.Received, Lost: max(st.Lost+st.LostNoState, e.Lost), LostOther: st.LostLifecycle,
		Violations: s.engine.Violations(), ViolationTotal: e.Violations,
		GPUStatus: s.o.GPUStatus,
	}
	sum.Notes = engineNotes(&e)
	if n := s.queue.figures.Unsorted(); n > 0 {
		sum.Notes = append(sum.Notes, stream.Note{What: "durations that count in totals but not in quantiles, because there are too many phases", Count: n})
	}
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
	s.queue.figures.Snapshot(sum)
	if g := s.queue.gpu; g != nil {
		sum.Devices = g.devices
	}
	s.count.summarise(sum)
	s.sumSites(sum)
	return sum, err
}

// engineNotes lists what the user should know of what the engine met.
func engineNotes(e *engine.Stats) []stream.Note {
	var out []stream.Note
	for _, n := range []stream.Note{
		{What: "phase names that were null, empty or unreadable", Count: e.BadNames},
		{What: "phase names cut at 255 bytes", Count: e.CutNames},
		{What: "attributes cut at 1022 bytes", Count: e.CutAttributes},
		{What: "attributes whose memory could not be read", Count: e.UnreadableAttributes},
		{What: "attributes that are no JSON object, kept as text under \"raw\"", Count: e.InvalidAttributes},
		{What: "enters beyond the limit of nested phases on one thread, not traced", Count: e.TooDeep},
		{What: "enters beyond the limit of open phases, not traced", Count: e.TooMany},
		{What: "enters not traced for another reason", Count: e.Refused},
		{What: "enters beyond the limit of open phases of keyed pairs, not traced", Count: e.TooManyKeyed},
		{What: "exits of phases that had been closed for them after a violation or a loss", Count: e.Late},
		{What: "markers hit while probes were being attached or removed, left out", Count: e.Outside},
		{What: "violations counted only in total, because there are too many different ones", Count: e.UntoldViolations},
		{What: "threads beyond the limit, not traced", Count: e.ThreadsRefused},
		{What: "processes beyond the limit, not traced", Count: e.ProcessesRefused},
		{What: "markers of threads that are not traced", Count: e.Untraced},
		{What: "attributes left out because there were too many at once", Count: e.Recorder.AttributesDropped},
		{What: "records that phasetrace itself mishandled: please report this", Count: e.Internal()},
		{What: "phases booked under \"(other)\" because there are too many paths", Count: e.Recorder.PathsOverflowed},
	} {
		if n.Count > 0 {
			out = append(out, n)
		}
	}
	return out
}

func (s *session) sumSites(sum *stream.Summary) {
	for id, site := range s.choice.sites {
		if s.hits(uint32(id)) == 0 && site.attached && site.over == nil {
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

// hits returns how often a site was hit; when phases are counted in the kernel,
// whether it was.
func (s *session) hits(id uint32) uint64 {
	if s.count != nil && s.count.hit[id] {
		return 1
	}
	return s.engine.Hits(id)
}
