// SPDX-License-Identifier: Apache-2.0

package summary

import (
	"strings"

	"github.com/phasetrace/phasetrace/internal/output/human"
)

// outcomes says how phases ended that can end in several ways, or that an error
// ended.
func (p *printer) outcomes() {
	var lines []string
	for i := range p.s.Paths {
		st := &p.s.Paths[i]
		if len(st.Outcomes) == 0 {
			continue
		}
		counts := make([]string, len(st.Outcomes))
		for j, o := range st.Outcomes {
			counts[j] = human.Count(o.Count) + " " + text(o.Outcome)
		}
		lines = append(lines, text(st.Path.String())+": "+strings.Join(counts, ", "))
	}
	if len(lines) == 0 {
		return
	}
	p.heading(false, "how they ended")
	for _, line := range lines[:min(len(lines), p.o.MaxItems)] {
		p.printf("  %s\n", line)
	}
	p.more(len(lines)-p.o.MaxItems, " phases")
}
