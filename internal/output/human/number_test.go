// SPDX-License-Identifier: Apache-2.0

package human

import (
	"math"
	"testing"
	"time"
)

func TestDuration(t *testing.T) {
	for _, test := range []struct {
		d    time.Duration
		want string
	}{
		{0, "0 ns"},
		{1, "1 ns"},
		{999, "999 ns"},
		{1000, "1.00 µs"},
		{1004, "1.00 µs"},
		{1005, "1.01 µs"},
		{9994, "9.99 µs"},
		{9995, "10.0 µs"},
		{12_400, "12.4 µs"},
		{99_949, "99.9 µs"},
		{99_950, "100 µs"},
		{999_499, "999 µs"},
		{999_500, "1.00 ms"},
		{12_400_000, "12.4 ms"},
		{999_499_999, "999 ms"},
		{999_500_000, "1.00 s"},
		{1_500_000_000, "1.50 s"},
		{59_949_999_999, "59.9 s"},
		{59_950_000_000, "1m00s"},
		{61 * time.Second, "1m01s"},
		{59*time.Minute + 59*time.Second + 499*time.Millisecond, "59m59s"},
		{59*time.Minute + 59*time.Second + 500*time.Millisecond, "1h00m"},
		{2*time.Hour + 3*time.Minute + 29*time.Second, "2h03m"},
		{23*time.Hour + 59*time.Minute + 29*time.Second, "23h59m"},
		{23*time.Hour + 59*time.Minute + 30*time.Second, "1d00h"},
		{4*24*time.Hour + 2*time.Hour, "4d02h"},
		{-52_000, "-52.0 µs"},
		{-time.Minute, "-1m00s"},
		{math.MaxInt64, "106752d00h"},
		{math.MinInt64, "-106752d00h"},
	} {
		if got := Duration(test.d); got != test.want {
			t.Errorf("Duration(%d) = %q, want %q", test.d, got, test.want)
		}
	}
}

func TestBytes(t *testing.T) {
	for _, test := range []struct {
		n    uint64
		want string
	}{
		{0, "0 B"},
		{1023, "1023 B"},
		{1024, "1.00 KiB"},
		{1536, "1.50 KiB"},
		{10_240, "10.0 KiB"},
		{102_400, "100 KiB"},
		{1023 << 10, "1023 KiB"},
		{1<<20 - 512, "1.00 MiB"},
		{1<<20 - 513, "1023 KiB"},
		{1 << 20, "1.00 MiB"},
		{80 << 30, "80.0 GiB"},
		{1 << 40, "1.00 TiB"},
		{1 << 50, "1.00 PiB"},
		{1 << 60, "1.00 EiB"},
		{math.MaxUint64, "16.0 EiB"},
	} {
		if got := Bytes(test.n); got != test.want {
			t.Errorf("Bytes(%d) = %q, want %q", test.n, got, test.want)
		}
	}
}

func TestChange(t *testing.T) {
	for _, test := range []struct {
		n    int64
		want string
	}{
		{0, "0 B"}, {1, "+1 B"}, {-1, "-1 B"}, {512 << 20, "+512 MiB"}, {-3 << 20, "-3.00 MiB"},
		{math.MaxInt64, "+8.00 EiB"}, {math.MinInt64, "-8.00 EiB"},
	} {
		if got := Change(test.n); got != test.want {
			t.Errorf("Change(%d) = %q, want %q", test.n, got, test.want)
		}
	}
}

func TestCount(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "0", 999: "999", 1000: "1,000", 12_345: "12,345", 123_456: "123,456", 1_234_567: "1,234,567",
		math.MaxUint64: "18,446,744,073,709,551,615",
	} {
		if got := Count(n); got != want {
			t.Errorf("Count(%d) = %q, want %q", n, got, want)
		}
	}
	for _, test := range []struct {
		n          uint64
		noun, want string
	}{
		{0, "record", "0 records"}, {1, "record", "1 record"}, {2000, "record", "2,000 records"},
		{1, "boundary", "1 boundary"}, {3, "boundary", "3 boundaries"},
	} {
		if got := Plural(test.n, test.noun); got != test.want {
			t.Errorf("Plural(%d, %q) = %q, want %q", test.n, test.noun, got, test.want)
		}
	}
}

func TestSeconds(t *testing.T) {
	for _, test := range []struct {
		d     time.Duration
		width int
		want  string
	}{
		{0, 0, "0.000000"},
		{1999, 0, "0.000001"},
		{123_456_789_012, 12, "  123.456789"},
		{123_456_789_012, 10, "123.456789"},
		{1_234_567_890_123, 10, "1234.56789"},
		{123_456_789_012, 6, "123.45"},
		{123_456_789_012, 5, "123.4"},
		{123_456_789_012, 4, " 123"},
		{123_456_789_012, 3, "123"},
		{123_456_789_012, 1, "123"},
		{-1500 * time.Microsecond, 10, " -0.001500"},
		{-1, 0, "0.000000"},
		{math.MinInt64, 0, "-9223372036.854775"},
	} {
		if got := string(AppendSeconds(nil, test.d, test.width)); got != test.want {
			t.Errorf("AppendSeconds(%d, %d) = %q, want %q", test.d, test.width, got, test.want)
		}
	}
}

// FuzzThreeDigits: a figure is never further from the value than half a unit of
// its last digit.
func FuzzThreeDigits(f *testing.F) {
	for _, n := range []uint64{0, 999, 1000, 1023, 1024, 999_499, 999_500, 1<<20 - 1, 59_950_000_000, math.MaxUint64} {
		f.Add(n)
	}
	f.Fuzz(func(t *testing.T, n uint64) {
		check := func(text string, units []unit) {
			for _, u := range units {
				if number, ok := cutSuffix(text, u.name); ok {
					value := number * float64(u.size)
					if diff := math.Abs(value - float64(n)); diff > 0.0051*float64(n) {
						t.Fatalf("%d is written %q", n, text)
					}
					return
				}
			}
			t.Fatalf("%d is written %q", n, text)
		}
		check(Bytes(n), byteUnits)
		if n < 59_950_000_000 {
			check(Duration(time.Duration(n)), durationUnits)
		}
	})
}
