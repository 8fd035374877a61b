// SPDX-License-Identifier: Apache-2.0

package session

import (
	"fmt"
	"slices"

	"github.com/phasetrace/phasetrace/internal/clock"
	"github.com/phasetrace/phasetrace/internal/engine"
	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// finalNotes adds what only the end tells: what the watcher could not do, and
// what was attached in vain.
func (s *Session) finalNotes(sum *stream.Summary) {
	w := s.watcher
	sum.Notes = slices.Concat(sum.Notes, present(
		stream.Note{What: "sites that could not be attached", Count: uint64(len(w.count.failures) + w.count.untold)},
		stream.Note{What: "warnings not shown, because there were too many", Count: uint64(w.report.warnings.beyond)},
		stream.Note{What: "sites left alone because this kernel cannot probe their nops safely", Count: uint64(w.plan.refused)},
		stream.Note{What: "programs run by exec of which the name and rank came late, because their memory did not answer", Count: uint64(s.describer.vain)},
		stream.Note{What: "processes killed by SIGTRAP, as those are that move their code while probes are in it", Count: s.trapped.count},
		stream.Note{What: "sites of programs that are gone, never hit and not listed, because there were too many", Count: w.plan.past.forgotten},
	), w.report.shortfall.notes(w.report.advice(TopicLibrary)), w.notesOfChildren(), w.plan.oneSided(), w.plan.asked.notes(w.cfg.Pairs))
	sum.ZeroSites = w.plan.zeroSites()
}

const missedLivesNote = "forks, execs and ends of threads that the kernel did not tell, because others came in between on their CPU"

// kernelNotes lists what the user should know of what the kernel counted.
func kernelNotes(st loader.Stats) []stream.Note {
	return present(
		stream.Note{What: "records that could not be decoded: please report this", Count: st.Malformed},
		stream.Note{What: "marker hits for which the kernel did not run the program", Count: st.Missed},
		stream.Note{What: missedLivesNote, Count: st.MissedLives},
		stream.Note{What: "lost markers not known of which thread", Count: st.Unattributed},
	)
}

// engineNotes lists what the user should know of what the engine met.
func engineNotes(e *engine.Stats) []stream.Note {
	return present(
		stream.Note{What: "phase names that were null, empty or unreadable", Count: e.BadNames},
		stream.Note{What: "phase names cut at 255 bytes", Count: e.CutNames},
		stream.Note{What: "attributes cut at 1022 bytes", Count: e.CutAttributes},
		stream.Note{What: "attributes whose memory could not be read", Count: e.UnreadableAttributes},
		stream.Note{What: "attributes that are no JSON object, kept as text under \"raw\"", Count: e.InvalidAttributes},
		stream.Note{What: "enters beyond the limit of nested phases on one thread, not traced", Count: e.TooDeep},
		stream.Note{What: "enters beyond the limit of open phases, not traced", Count: e.TooMany},
		stream.Note{What: "enters not traced for another reason", Count: e.Refused},
		stream.Note{What: "enters beyond the limit of open phases of keyed pairs, not traced", Count: e.TooManyKeyed},
		stream.Note{What: "markers hit while probes were being attached or removed, left out", Count: e.Outside},
		stream.Note{What: "violations counted only in total, because there are too many different ones", Count: e.UnlistedViolations},
		stream.Note{What: "threads beyond the limit, not traced", Count: e.ThreadsRefused},
		stream.Note{What: "processes beyond the limit, not traced", Count: e.ProcessesRefused},
		stream.Note{What: "markers of threads that are not traced", Count: e.Untraced},
		stream.Note{What: "attributes left out because there were too many at once", Count: e.Recorder.AttributesDropped},
		stream.Note{What: "records that phasetrace itself mishandled: please report this", Count: e.Internal()},
		stream.Note{What: "phases booked under \"(other)\" because there are too many paths", Count: e.Recorder.PathsOverflowed},
	)
}

// keyNotes names the pairs whose keys do not tell their phases apart.
func keyNotes(reuses []engine.KeyReuse) []stream.Note {
	var out []stream.Note
	for _, r := range reuses {
		out = append(out, stream.Note{
			What:  fmt.Sprintf("pair %s: a key was used again while its phase was open, so those durations are not known: add another argument to the key", r.Pair.ID),
			Count: r.Count,
		})
	}
	return out
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
