// SPDX-License-Identifier: Apache-2.0

package jsonl

import (
	"strconv"

	"github.com/phasetrace/phasetrace/internal/stream"
)

// pairChange writes pair_change.
func (s *Sink) pairChange(c *stream.PairChange) error {
	l := s.begin("pair_change", c.Unix, c.Time)
	l = append(l, s.host...)
	l = whichPair(append(l, ','), c.Name, c.Provider, c.Enter)
	l = l.share(`,"part":`, c.Part)
	l = l.share(`,"overhead":`, c.Share)
	l = l.share(`,"budget":`, c.Budget)
	l = l.flag(`,"for_good":`, c.ForGood)
	return s.end(l.flag(`,"trial":`, c.Trial))
}

// whichPair appends what names a pair.
func whichPair(l line, name, provider, enter string) line {
	l = l.textOrNull(`"name":`, name)
	l = l.text(`,"provider":`, provider)
	return l.text(`,"enter":`, enter)
}

// share appends a share, in the digits that it takes to read the same back.
func (l line) share(key string, value float64) line {
	return strconv.AppendFloat(append(l, key...), value, 'f', -1, 64)
}

// parts appends the pairs that were not traced all the time, if there are any.
func parts(l line, all []stream.PairPart) line {
	for i := range all {
		p := &all[i]
		if i == 0 {
			l = append(l, `,"left_out_pairs":[`...)
		}
		l = whichPair(append(l, '{'), p.Name, p.Provider, p.Enter)
		l = l.share(`,"left_out_share":`, p.LeftOut)
		l = l.count(`,"cuts":`, p.Cuts)
		l = l.share(`,"part":`, p.Part)
		l = l.share(`,"budget":`, p.Budget)
		l = append(l.flag(`,"for_good":`, p.ForGood), '}')
		l = comma(l, i, len(all))
	}
	if len(all) > 0 {
		l = append(l, ']')
	}
	return l
}
