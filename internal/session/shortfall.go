// SPDX-License-Identifier: Apache-2.0

package session

import (
	"fmt"
	"time"

	"github.com/phasetrace/phasetrace/internal/stream"
)

// shortfall counts what the watcher could not do as promised.
type shortfall struct {
	lateExecs, lateLibraries, lateStarts delay
	overwritten                          delay  // files that were being written to in place
	missedExecs                          uint64 // programs that ended before they could be looked at
	slowLooks                            uint64 // looks that took too long
	failedLooks                          uint64 // looks that failed at a living process
	unread                               int    // files of living processes that could not be read
	passed                               int    // libraries that were gone before they could be looked at
	unnamed                              int    // processes that ended before it was known what they had loaded
	off                                  int    // files whose markers stay off in a process
}

// delay counts files that were attached after they had been mapped.
type delay struct {
	times int
	worst time.Duration
	files []string // perhaps not all
}

func (d *delay) add(by time.Duration, files ...string) {
	d.times++
	d.worst = max(d.worst, by)
	if len(d.files) < maxWarnings {
		d.files = append(d.files, files...)
	}
}

// notes lists what may have been missed, with advice on libraries.
func (t *shortfall) notes(advice string) []stream.Note {
	var out []stream.Note
	for _, n := range []struct {
		d    delay
		what string
	}{
		{t.lateExecs, "programs run by exec"},
		{t.lateLibraries, "libraries loaded while tracing"},
		{t.lateStarts, "files whose markers the kernel could not enable before they had been relocated"},
	} {
		if n.d.times == 0 {
			continue
		}
		what := fmt.Sprintf("%s that were attached up to %v after they were mapped: their markers before are missing", n.what, roundTime(n.d.worst))
		if len(n.d.files) > 0 {
			what += fmt.Sprintf("%s: %s", advice, list(n.d.files))
		}
		out = append(out, stream.Note{What: what, Count: uint64(n.d.times)})
	}
	if n := t.overwritten; n.times > 0 {
		what := "times that a traced file was being written to in place: its markers meanwhile are missing"
		if n.worst > 0 {
			what += fmt.Sprintf(", for up to %v until it was attached again", roundTime(n.worst))
		}
		out = append(out, stream.Note{What: what, Count: uint64(n.times)})
	}
	return append(out, present(
		stream.Note{What: "programs run by exec that ended before they could be looked at", Count: t.missedExecs},
		stream.Note{What: "libraries that were gone before they could be looked at: their markers are missing", Count: uint64(t.passed)},
		stream.Note{What: "processes that ended before the libraries they had just loaded could be looked at", Count: uint64(t.unnamed)},
		stream.Note{What: "looks for markers that were given up because a file did not answer in time", Count: t.slowLooks},
		stream.Note{What: "looks for markers that failed: markers of those programs, if any, are not traced", Count: t.failedLooks},
		stream.Note{What: "files whose markers the kernel did not enable in a process", Count: uint64(t.off)},
		stream.Note{What: "files that could not be read: markers in them, if any, are not traced", Count: uint64(t.unread)},
	)...)
}

// present returns the notes that count something.
func present(notes ...stream.Note) []stream.Note {
	out := notes[:0]
	for _, n := range notes {
		if n.Count > 0 {
			out = append(out, n)
		}
	}
	return out
}
