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
			want := values[max(int(math.Ceil(q*float64(len(values)))), 1)-1]
			got := h.quantile(q)
			if diff := math.Abs(float64(got) - float64(want)); diff > 0.016*float64(want)+0.5 {
				t.Errorf("%s: quantile %v is %d, want %d", name, q, got, want)
			}
		}
	}
}

// Quantiles of few values are values, the nearest rank; so they are when two
// histograms are merged, until there are too many.
func TestQuantilesOfFew(t *testing.T) {
	for _, tt := range []struct {
		values   []uint64
		p50, p99 uint64
	}{
		{[]uint64{7_654_321}, 7_654_321, 7_654_321},
		{[]uint64{202_000_123, 1_000_077}, 1_000_077, 202_000_123},
		{[]uint64{1_000_000, 302_000_001, 1_000_000, 202_000_000}, 1_000_000, 302_000_001},
		{[]uint64{5_000_003, 1_000_001, 3_000_002}, 3_000_002, 5_000_003},
	} {
		var whole, left, right histogram
		blocks := maxBlocks
		for i, v := range tt.values {
			whole.add(v, &blocks)
			[]*histogram{&left, &right}[i%2].add(v, &blocks)
		}
		left.merge(&right, &blocks)
		for what, h := range map[string]*histogram{"added": &whole, "merged": &left} {
			if p50, p99 := h.quantile(0.5), h.quantile(0.99); p50 != tt.p50 || p99 != tt.p99 {
				t.Errorf("%v, %s: p50 %d, p99 %d, want %d and %d", tt.values, what, p50, p99, tt.p50, tt.p99)
			}
		}
	}
}

// Values whose octave had no room, or that were counted elsewhere, are not in few,
// and then the buckets count.
func TestFewIncomplete(t *testing.T) {
	var h, counted histogram
	blocks := maxBlocks
	for range maxFew {
		h.add(1000, &blocks)
	}
	counted.take(0, &block{3: 100})
	h.merge(&counted, &blocks)
	if got := h.quantile(0.5); got != 3 {
		t.Errorf("median %d of 100 times 3 and %d times 1000, want 3", got, maxFew)
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
