// SPDX-License-Identifier: Apache-2.0

package hitcost

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strconv"
	"time"
	"unicode"
)

const (
	// memory is more than a CPU's own caches hold, so what is taken of it in turn
	// comes from further away.
	memory = 4 << 20
	// taken is what the work between two hits reads and writes of it: half of what
	// most first-level caches hold.
	taken = 16 << 10
	line  = 64
)

// work is what a program does between two hits: code with many branches and indirect
// calls, of which some cannot be predicted, and memory. It takes a few microseconds and
// allocates nothing.
type work struct {
	memory []byte
	at     int
	text   []byte
	order  [24]uint32
	random uint32
	values []any
	when   time.Time
	sink   int
}

func newWork() *work {
	w := &work{memory: make([]byte, memory), text: make([]byte, 0, 256), random: 1}
	w.values = []any{"between two hits", 3.25, []byte("some"), 1234567, true, 'x', "more", -5, uint64(1) << 40, 1e100}
	w.when = time.Unix(1e9, 0)
	for i := range w.memory {
		w.memory[i] = byte(i) // so that there are pages
	}
	return w
}

// muchWork is so much work that a program does it some 50,000 times a second.
const muchWork = 7

func (w *work) repeat(times int) {
	for range times {
		w.do()
	}
}

func (w *work) do() {
	if w.at+taken > len(w.memory) {
		w.at = 0
	}
	for i := w.at; i < w.at+taken; i += line {
		w.memory[i]++
	}
	w.at += taken
	w.text = fmt.Appendf(w.text[:0], "%q %08.3f %x %d %v %c %-20s %+d %o %g", w.values...)
	w.text = strconv.AppendFloat(w.text, float64(w.random)/7, 'g', -1, 64)
	w.text = w.when.AppendFormat(w.text, time.RFC1123Z)
	sum := sha256.Sum256(w.text)
	for i := range w.order {
		w.random = w.random*1664525 + 1013904223
		w.order[i] = w.random ^ uint32(sum[i])
	}
	slices.Sort(w.order[:])
	for _, b := range w.text {
		if unicode.IsLetter(rune(b)) {
			w.sink++
		}
	}
}
