// SPDX-License-Identifier: Apache-2.0

package human

import (
	"strconv"
	"strings"
	"time"
)

// Unknown is shown for an unknown value, never 0.
const Unknown = "?"

type unit struct {
	size uint64
	name string
}

var durationUnits = []unit{
	{uint64(time.Second), " s"},
	{uint64(time.Millisecond), " ms"},
	{uint64(time.Microsecond), " µs"},
	{1, " ns"},
}

var byteUnits = []unit{
	{1 << 60, " EiB"}, {1 << 50, " PiB"}, {1 << 40, " TiB"}, {1 << 30, " GiB"}, {1 << 20, " MiB"}, {1 << 10, " KiB"}, {1, " B"},
}

// AppendDuration appends a duration with three significant digits: "0 ns",
// "812 ns", "12.4 ms", "59.9 s", and from a minute on "3m05s", "2h03m", "4d02h".
func AppendDuration(dst []byte, d time.Duration) []byte {
	n := magnitude(int64(d))
	if d < 0 {
		dst = append(dst, '-')
	}
	// Anything that rounds to a minute is shown as a minute.
	if n >= 59_950_000_000 {
		return appendLong(dst, n)
	}
	return appendScaled(dst, n, durationUnits, 1000)
}

// Duration is AppendDuration for a string.
func Duration(d time.Duration) string { return string(AppendDuration(nil, d)) }

// AppendBytes appends a number of bytes in powers of 1024 with three significant
// digits, four from 1000 to 1023: "0 B", "1023 B", "1.20 GiB".
func AppendBytes(dst []byte, n uint64) []byte { return appendScaled(dst, n, byteUnits, 1024) }

// Bytes is AppendBytes for a string.
func Bytes(n uint64) string { return string(AppendBytes(nil, n)) }

// AppendChange appends a change in bytes with its sign: "+1.20 GiB", "-3.00 MiB",
// and "0 B" without one.
func AppendChange(dst []byte, n int64) []byte {
	switch {
	case n > 0:
		dst = append(dst, '+')
	case n < 0:
		dst = append(dst, '-')
	}
	return AppendBytes(dst, magnitude(n))
}

// Change is AppendChange for a string.
func Change(n int64) string { return string(AppendChange(nil, n)) }

// AppendCount appends a count with a comma between groups of three digits.
func AppendCount(dst []byte, n uint64) []byte {
	var digits [20]byte
	s := strconv.AppendUint(digits[:0], n, 10)
	for i, c := range s {
		if i > 0 && (len(s)-i)%3 == 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, c)
	}
	return dst
}

// Count is AppendCount for a string.
func Count(n uint64) string { return string(AppendCount(nil, n)) }

// Plural is a count with its noun: "1 record", "2,000 records", "3 boundaries".
func Plural(n uint64, noun string) string {
	stem, y := strings.CutSuffix(noun, "ry")
	switch {
	case n == 1:
	case y:
		noun = stem + "ries"
	default:
		noun += "s"
	}
	return Count(n) + " " + noun
}

// AppendSeconds appends a time in seconds to the microsecond, right-aligned in
// width columns: "    0.000123". One that is too long for that has fewer decimals,
// and the last of them is cut, not rounded; its whole seconds take the space they
// need. A width of 0 is none.
func AppendSeconds(dst []byte, d time.Duration, width int) []byte {
	us := magnitude(int64(d)) / 1000
	var text [32]byte
	t := text[:0]
	if d < 0 && us > 0 {
		t = append(t, '-')
	}
	t = strconv.AppendUint(t, us/1e6, 10)
	t = append(t, '.')
	fraction := us % 1e6
	for digit := uint64(1e5); digit > 0; digit /= 10 {
		t = append(t, byte('0'+fraction/digit%10))
	}
	if point := len(t) - len(".000000"); width > 0 && len(t) > width {
		if t = t[:max(width, point)]; len(t) == point+1 {
			t = t[:point]
		}
	}
	for n := len(t); n < width; n++ {
		dst = append(dst, ' ')
	}
	return append(dst, t...)
}

func magnitude(n int64) uint64 {
	if n < 0 {
		return -uint64(n)
	}
	return uint64(n)
}

// appendScaled writes n in the largest unit that leaves at least 1, rounded to
// three digits, and in the next unit when rounding reaches its size.
func appendScaled(dst []byte, n uint64, units []unit, step uint64) []byte {
	for i, u := range units {
		if n < u.size && u.size > 1 {
			// 999.95 µs rounds to 1.00 ms; 1023.7 KiB to 1.00 MiB.
			below := units[i+1].size
			if below == 1 || (n+below/2)/below < step {
				continue
			}
			n = u.size
		}
		if u.size == 1 {
			return append(strconv.AppendUint(dst, n, 10), u.name...)
		}
		return append(appendThree(dst, n, u.size), u.name...)
	}
	return dst
}

// appendThree writes n/size with three significant digits.
func appendThree(dst []byte, n, size uint64) []byte {
	whole, rest := n/size, n%size
	for digits := 2; digits > 0; digits-- {
		scale := uint64(10)
		if digits == 2 {
			scale = 100
		}
		// rest < size ≤ 2⁶⁰: divide first where the product would not fit.
		fraction := uint64(float64(rest)/float64(size)*float64(scale) + 0.5)
		carried := whole
		if fraction >= scale {
			carried, fraction = whole+1, 0
		}
		limit := uint64(10)
		if digits == 1 {
			limit = 100
		}
		if carried >= limit {
			continue
		}
		dst = strconv.AppendUint(dst, carried, 10)
		dst = append(dst, '.')
		if digits == 2 && fraction < 10 {
			dst = append(dst, '0')
		}
		return strconv.AppendUint(dst, fraction, 10)
	}
	if rest >= size-rest {
		whole++
	}
	return strconv.AppendUint(dst, whole, 10)
}

// appendLong writes durations from a minute on.
func appendLong(dst []byte, n uint64) []byte {
	s := (n + 500_000_000) / 1_000_000_000
	big, small, bigName, smallName := s/60, s%60, byte('m'), byte('s')
	if s >= 3600 {
		m := (s + 30) / 60
		big, small, bigName, smallName = m/60, m%60, 'h', 'm'
		if m >= 24*60 {
			h := (m + 30) / 60
			big, small, bigName, smallName = h/24, h%24, 'd', 'h'
		}
	}
	dst = append(strconv.AppendUint(dst, big, 10), bigName)
	dst = append(dst, byte('0'+small/10), byte('0'+small%10))
	return append(dst, smallName)
}
