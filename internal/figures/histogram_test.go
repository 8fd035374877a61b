// SPDX-License-Identifier: Apache-2.0

package figures

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// Quantiles are within the stated 1.6 % of those of the sorted values.
func TestHistogramQuantiles(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for name, draw := range map[string]func() uint64{
		"small":     func() uint64 { return r.Uint64N(20) },
		"even":      func() uint64 { return r.Uint64N(1e6) },
		"spread":    func() uint64 { return uint64(math.Exp(r.Float64() * 40)) },
		"one":       func() uint64 { return 12345 },
		"two peaks": func() uint64 { return 100 + r.Uint64N(2)*1e9 + r.Uint64N(10) },
	} {
		var h histogram
		blocks := maxBlocks
		values := make([]uint64, 20000)
		for i := range values {
			values[i] = draw()
			if !h.add(values[i], &blocks) {
				t.Fatal("no room")
			}
		}
		slices.Sort(values)
		for _, q := range []float64{0, 0.01, 0.25, 0.5, 0.9, 0.99, 0.999, 1} {
			want := values[min(int(q*float64(len(values))), len(values)-1)]
			got := h.quantile(q)
			if diff := math.Abs(float64(got) - float64(want)); diff > 0.016*float64(want)+0.5 {
				t.Errorf("%s: quantile %v is %d, want %d", name, q, got, want)
			}
		}
	}
}

func TestHistogramExtremes(t *testing.T) {
	var h histogram
	blocks := 2
	if !h.add(0, &blocks) || !h.add(math.MaxUint64, &blocks) || h.add(1000, &blocks) || !h.add(1, &blocks) {
		t.Error("two blocks hold the values of two octaves, no more")
	}
	if h.n != 3 || h.quantile(0) != 0 || h.quantile(1) < math.MaxUint64/64*63 {
		t.Errorf("n %d, smallest %d, largest %d", h.n, h.quantile(0), h.quantile(1))
	}
}
