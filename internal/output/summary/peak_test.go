// SPDX-License-Identifier: Apache-2.0

package summary

import (
	"strings"
	"testing"

	"github.com/phasetrace/phasetrace/internal/gpu"
	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// A peak names its phase when all threads agree on it, and a guess, said to be
// one, when they do not.
func TestPeakNamesItsPhase(t *testing.T) {
	open := func(at map[int][]string) recorder.Attribution { // by thread
		r := recorder.New(recorder.Limits{})
		for thread := range len(at) {
			for _, name := range at[thread] {
				if _, _, err := r.Enter(recorder.Key{SessionID: "s", ThreadID: thread}, "", name, nil); err != nil {
					t.Fatal(err)
				}
			}
		}
		return r.Attribute(recorder.Question{}, nil)
	}
	for _, test := range []struct {
		name string
		peak stream.RunPeak
		want string
	}{
		{"one thread", stream.RunPeak{Used: gpu.Bytes(21 << 30), Phase: open(map[int][]string{0: {"train", "step"}})},
			"peak 21.0 GiB in train / step"},
		{"threads that agree", stream.RunPeak{Used: gpu.Bytes(1 << 20), Phase: open(map[int][]string{0: {"train"}, 1: {"train"}})},
			"peak 1.00 MiB in train"},
		{"threads that do not", stream.RunPeak{Used: gpu.Bytes(1 << 30), Phase: open(map[int][]string{0: {"load"}, 1: {"load"}, 2: {"train", "forward"}})},
			"peak 1.00 GiB, likely in train / forward (a guess: 3 threads were in different phases, and this one was entered last)"},
		{"a name that a terminal would obey", stream.RunPeak{Used: gpu.Bytes(1 << 30), Phase: open(map[int][]string{0: {"a"}, 1: {"\x1b[1m"}})},
			`peak 1.00 GiB, likely in \x1b[1m (a guess: 2 threads were in different phases, and this one was entered last)`},
		{"no phase", stream.RunPeak{Used: gpu.Bytes(1 << 30)}, "peak 1.00 GiB outside every phase"},
		{"never read", stream.RunPeak{}, "peak ? (never read)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := stream.Summary{Devices: []gpu.Device{{MIG: -1, Name: "H200"}}, RunPeak: []stream.RunPeak{test.peak}}
			got := string(Append(nil, &s, Options{}))
			if want := "  gpu0     H200: " + test.want + "\n"; !strings.Contains(got, want) {
				t.Errorf("no %q in\n%s", want, got)
			}
		})
	}
}
