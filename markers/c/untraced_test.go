// SPDX-License-Identifier: Apache-2.0

package c_test

import (
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"

	"github.com/phasetrace/phasetrace/internal/fixture"
)

// BenchmarkUntraced runs spin.c without markers (the baseline) and with
// markers that nobody traces, in turn, and reports the lowest ns a boundary of
// each and their difference.
func BenchmarkUntraced(b *testing.B) {
	bare := fixture.Build(b, "spin.c", "-DPHASETRACE_DISABLE")
	marked := fixture.Build(b, "spin.c")
	for _, mode := range []string{"inline", "call"} {
		b.Run(mode, func(b *testing.B) {
			low := map[string]float64{}
			for b.Loop() {
				for _, path := range []string{bare, marked} {
					ns, err := spin(path, mode)
					if err != nil {
						b.Fatal(err)
					}
					if old, ok := low[path]; !ok || ns < old {
						low[path] = ns
					}
				}
			}
			b.ReportMetric(low[bare], "ns/none")
			b.ReportMetric(low[marked], "ns/untraced")
			b.ReportMetric(low[marked]-low[bare], "ns/marker")
		})
	}
}

// spin returns the ns a boundary that the program measured.
func spin(path, mode string) (float64, error) {
	cmd := exec.Command(path, "1", "20000000", mode)
	cmd.Stdin = strings.NewReader("go\n")
	out, err := cmd.Output()
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(out)) {
		var boundaries uint64
		var ns float64
		if _, err := fmt.Sscanf(line, "total %d %f", &boundaries, &ns); err == nil {
			return ns, nil
		}
	}
	return 0, io.ErrUnexpectedEOF
}
