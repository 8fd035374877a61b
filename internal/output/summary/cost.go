// SPDX-License-Identifier: Apache-2.0

package summary

import (
	"fmt"
	"strings"
	"time"

	"github.com/phasetrace/phasetrace/internal/output/human"
	"github.com/phasetrace/phasetrace/internal/stream"
)

const (
	// maxCosts is how many processes are told of one by one.
	maxCosts = 5
	// mainShare is what the pairs that are named make up together, unless it takes
	// more than maxMain.
	mainShare = 0.6
	maxMain   = 2
)

// cost says what tracing has cost the traced programs.
func (p *printer) cost() {
	c := p.s.Cost
	if c == nil || c.All.Hits == 0 {
		return
	}
	if c.Unknown != "" {
		p.heading(false, "tracing cost %s; it is not known what one costs", human.Plural(c.All.Hits, "hit"))
		p.printf("  %s\n", text(c.Unknown))
		return
	}
	their := "their"
	if c.Total == 1 {
		their = "its"
	}
	p.heading(false, "tracing cost %s %s%s", whom(c), ofCPU(&c.All, their), mainly(&c.All))
	p.printf("  %s at some %s each, as measured on a marker of phasetrace itself\n", human.Plural(c.All.Hits, "hit"),
		human.Duration(c.All.Cost/time.Duration(c.All.Hits)))
	if c.Total < 2 {
		return
	}
	for i := range c.Processes[:min(len(c.Processes), maxCosts)] {
		one := &c.Processes[i]
		p.printf("  process %d (%s): %s%s\n", one.Process.PID, text(nameOfProcess(one.Process)), ofCPU(one, "its"), mainly(one))
	}
	p.more(c.Total-min(len(c.Processes), maxCosts), "")
}

// whom names the processes that tracing has cost something.
func whom(c *stream.TracingCost) string {
	name := ""
	for i := range c.Processes {
		comm := c.Processes[i].Process.Comm
		if i > 0 && comm != name || comm == "" {
			return processes(c.Total)
		}
		name = comm
	}
	switch {
	case name == "":
		return processes(c.Total)
	case c.Total > 1:
		return fmt.Sprintf("%s (%s)", text(name), processes(c.Total))
	}
	return text(name)
}

func processes(n int) string {
	if n == 1 {
		return "1 process"
	}
	return human.Count(uint64(n)) + " processes"
}

func nameOfProcess(p *stream.Process) string {
	if p.Title != "" {
		return p.Title
	}
	return p.Comm
}

// ofCPU says what a cost is, as a share where that is known.
func ofCPU(c *stream.ProcessCost, whose string) string {
	if share, ok := c.Share(); ok {
		about := "about " + percentage(share)
		if share < leastShare {
			about = percentage(share)
		}
		return fmt.Sprintf("%s of %s CPU time (%s)", about, whose, human.Duration(c.Cost))
	}
	return fmt.Sprintf("about %s of %s CPU time, of which it is not known how much there was", human.Duration(c.Cost), whose)
}

// mainly names the pairs that make up most of a cost.
func mainly(c *stream.ProcessCost) string {
	var all, some uint64
	for i := range c.Pairs {
		all += c.Pairs[i].Hits
	}
	var names []string
	for i := range c.Pairs {
		if len(names) == maxMain || float64(some) >= mainShare*float64(all) {
			break
		}
		some += c.Pairs[i].Hits
		names = append(names, text(c.Pairs[i].Name))
	}
	if len(c.Pairs) < 2 || all == 0 {
		return ""
	}
	return fmt.Sprintf(", %s of it for %s", percentage(float64(some)/float64(all)), strings.Join(names, " and "))
}

// leastShare is the least that is told as a figure.
const leastShare = 0.001

// percentage writes a share of one in two digits.
func percentage(share float64) string {
	switch p := 100 * share; {
	case p == 0:
		return "0 %"
	case share < leastShare:
		return "less than 0.1 %"
	case p < 9.95:
		return fmt.Sprintf("%.1f %%", p)
	default:
		return fmt.Sprintf("%.0f %%", p)
	}
}
