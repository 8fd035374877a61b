// SPDX-License-Identifier: Apache-2.0

package usdt

// Tally counts the pairs of a choice.
type Tally struct {
	// Chosen are traced.
	Chosen int
	// Off have both ends and are traced only when they are asked for: they are off
	// by default, or pairs of a better origin come first.
	Off int
}

// TallyOf counts what [Choose] returned. Pairs that lack an end count as neither.
// With --pair, the pairs that were not asked for are not off: the user has chosen.
func TallyOf(choices []Choice) Tally {
	var t Tally
	for i := range choices {
		switch c := &choices[i]; {
		case c.Chosen:
			t.Chosen++
		case c.OnDemand:
			t.Off++
		}
	}
	return t
}
