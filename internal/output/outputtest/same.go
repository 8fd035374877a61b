// SPDX-License-Identifier: Apache-2.0

package outputtest

import (
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// DiffFigures compares the figures that records add up to in two summaries, to
// the last digit, and returns "" when they are the same. Paths may be of different
// Paths. Of a peak's candidates it compares the first 16, which is what lines
// name, and their number.
func DiffFigures(recorded, played *stream.Summary) string {
	return cmp.Diff(figuresOf(recorded), figuresOf(played), SamePaths, cmpopts.EquateEmpty())
}

// SamePaths compares paths by their names.
var SamePaths = cmp.Comparer(func(a, b *recorder.Path) bool { return a.Equal(b) })

type summaryFigures struct {
	Paths                                            []stream.PathStats
	Grouped                                          stream.Grouped
	Boundaries, Synthetic, Orphans, Lost, GPUSamples uint64
	OrphanReasons                                    []stream.OrphanCount
	Peaks                                            []peak
	Parts                                            []stream.PairPart
}

type peak struct {
	stream.RunPeak
	Candidates int
}

func figuresOf(s *stream.Summary) summaryFigures {
	f := summaryFigures{Paths: s.Paths, Grouped: s.Grouped, Boundaries: s.Boundaries, Synthetic: s.Synthetic, Orphans: s.Orphans, Lost: s.Lost, GPUSamples: s.GPUSamples, Parts: s.Parts}
	for _, o := range s.OrphanReasons {
		o.Reason = stream.OrphanReason([]rune(string(o.Reason))) // lines are UTF-8
		f.OrphanReasons = append(f.OrphanReasons, o)
	}
	for _, p := range s.RunPeak {
		all := peak{p, len(p.Phase.Candidates) + p.Phase.More}
		all.Phase.More, all.Phase.Likely.Depth = 0, 0 // a line does not say how deep a stack is
		all.Phase.Candidates = nil
		for _, c := range p.Phase.Candidates[:min(len(p.Phase.Candidates), 16)] {
			c.Depth = 0
			all.Phase.Candidates = append(all.Phase.Candidates, c)
		}
		f.Peaks = append(f.Peaks, all)
	}
	return f
}
