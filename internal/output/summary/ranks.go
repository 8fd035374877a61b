// SPDX-License-Identifier: Apache-2.0

package summary

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/phasetrace/phasetrace/internal/output/human"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// spread is how the ranks of a path differ.
type spread struct {
	stats            *stream.PathStats
	mean, others     time.Duration // of all ranks, and of all but the slowest
	slowest, fastest *stream.RankStats
	extra            time.Duration // what the slowest took beyond the others' mean, all in all
}

// spreadOf compares the means of the ranks; ok is false with fewer than two.
func spreadOf(st *stream.PathStats) (s spread, ok bool) {
	s.stats = st
	var total time.Duration
	var timed uint64
	ranks := 0
	for i := range st.Ranks {
		r := &st.Ranks[i]
		if r.Timed == 0 {
			continue
		}
		ranks++
		total, timed = total+r.Total, timed+r.Timed
		if s.slowest == nil || r.Mean() > s.slowest.Mean() {
			s.slowest = r
		}
		if s.fastest == nil || r.Mean() < s.fastest.Mean() {
			s.fastest = r
		}
	}
	if ranks < 2 {
		return s, false
	}
	s.mean = total / time.Duration(timed)
	s.others = (total - s.slowest.Total) / time.Duration(max(timed-s.slowest.Timed, 1))
	s.extra = (s.slowest.Mean() - s.others) * time.Duration(s.slowest.Timed)
	return s, true
}

// ranks appends the spread between the ranks, of the phases with the largest first.
func (p *printer) ranks() {
	var list []spread
	seen := make(map[int32]bool)
	for i := range p.s.Paths {
		if s, ok := spreadOf(&p.s.Paths[i]); ok {
			list = append(list, s)
		}
		for _, r := range p.s.Paths[i].Ranks {
			seen[r.Rank] = true
		}
	}
	if len(list) == 0 {
		return
	}
	slices.SortStableFunc(list, func(a, b spread) int { return cmp.Compare(b.extra, a.extra) })
	p.heading(false, "%s: mean durations, the phases that cost the slowest rank most first", human.Plural(uint64(len(seen)), "rank"))
	var rows [][]string
	for _, s := range list[:min(len(list), p.o.MaxItems)] {
		rows = append(rows, []string{
			p.pathLabel(s.stats.Path), human.Duration(s.mean), rankMean(s.slowest), rankMean(s.fastest), times(s.slowest.Mean(), s.others),
		})
	}
	p.table([]string{"phase", "mean", "slowest", "fastest", "slowest to others"}, rows)
	p.more(len(list)-p.o.MaxItems, "")
}

func rankMean(r *stream.RankStats) string {
	return fmt.Sprintf("rank %d: %s", r.Rank, human.Duration(r.Mean()))
}

// times is how many times b goes into a.
func times(a, b time.Duration) string {
	if b <= 0 {
		return human.Unknown
	}
	return fmt.Sprintf("%.2f×", float64(a)/float64(b))
}
