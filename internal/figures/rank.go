// SPDX-License-Identifier: Apache-2.0

package figures

import (
	"cmp"
	"slices"
	"time"

	"github.com/phasetrace/phasetrace/internal/stream"
)

// maxRankCells bounds the ranks of all paths together: 4 MiB.
const maxRankCells = 1 << 17

// rankTimes are the times of a path on one rank.
type rankTimes struct {
	rank  int32
	timed uint64
	total int64 // ns
	max   int64
}

// add adds a duration. A nil receiver has no room for it.
func (r *rankTimes) add(duration int64) {
	if r != nil {
		r.timed++
		r.total += duration
		r.max = max(r.max, duration)
	}
}

// rank returns the times of a path on a rank, for one duration that is about to be
// added; nil if there is no room. It is valid until the next call.
func (f *Figures) rank(p *path, rank int32) *rankTimes {
	if p.at < len(p.ranks) && p.ranks[p.at].rank == rank {
		return &p.ranks[p.at]
	}
	at, found := slices.BinarySearchFunc(p.ranks, rank, func(r rankTimes, rank int32) int { return cmp.Compare(r.rank, rank) })
	if !found {
		if f.rankCells == maxRankCells {
			f.rankless++
			return nil
		}
		f.rankCells++
		p.ranks = slices.Insert(p.ranks, at, rankTimes{rank: rank})
	}
	p.at = at
	return &p.ranks[at]
}

// mergeRanks adds the times by rank of another path.
func (f *Figures) mergeRanks(p, other *path) {
	for i := range other.ranks {
		o := &other.ranks[i]
		if o.timed == 0 {
			continue
		}
		mine := f.rank(p, o.rank)
		if mine == nil {
			f.rankless += o.timed - 1 // one is counted already
			continue
		}
		mine.timed += o.timed
		mine.total += o.total
		mine.max = max(mine.max, o.max)
	}
}

// exportRanks returns the times by rank, if there are several.
func (p *path) exportRanks() []stream.RankStats {
	if len(p.ranks) < 2 {
		return nil
	}
	out := make([]stream.RankStats, len(p.ranks))
	for i, r := range p.ranks {
		out[i] = stream.RankStats{Rank: r.rank, Timed: r.timed, Total: time.Duration(r.total), Max: time.Duration(r.max)}
	}
	return out
}
