// SPDX-License-Identifier: Apache-2.0

package jsonl

import (
	"strconv"
	"time"

	"github.com/phasetrace/phasetrace/internal/stream"
)

// tracingCost appends what tracing has cost the traced programs.
func (s *Sink) tracingCost(l line, c *stream.TracingCost) line {
	l = append(l, `,"tracing_cost":`...)
	known := c.Unknown == ""
	l = append(l, `{"hit":[`...)
	for i, h := range c.Hit {
		l = l.integer(`{"gap_ns":`, int64(h.Gap))
		l = comma(append(l.integer(`,"cost_ns":`, int64(h.Cost)), '}'), i, len(c.Hit))
	}
	l = l.textOrNull(`],"unknown":`, c.Unknown)
	l = append(l, `,"all":{`...)
	l = append(processCost(l, &c.All, known), '}')
	l = l.integer(`,"process_total":`, int64(c.Total))
	l = append(l, `,"processes":[`...)
	for i := range c.Processes {
		p := &c.Processes[i]
		from := len(l)
		l = append(s.process(l, p.Process), ',')
		l[from] = '{'
		l = append(processCost(l, p, known), '}')
		l = comma(l, i, len(c.Processes))
	}
	return append(l, `]}`...)
}

// processCost appends the members of one process's cost.
func processCost(l line, c *stream.ProcessCost, known bool) line {
	l = l.count(`"hits":`, c.Hits)
	l = l.nanoseconds(`,"cost_ns":`, c.Cost, known)
	l = l.nanoseconds(`,"cpu_ns":`, c.CPU, c.CPUKnown)
	if share, ok := c.Share(); ok && known {
		l = strconv.AppendFloat(append(l, `,"share":`...), share, 'f', 6, 64)
	} else {
		l = append(l, `,"share":null`...)
	}
	l = append(l, `,"pairs":[`...)
	for i := range c.Pairs {
		p := &c.Pairs[i]
		l = l.text(`{"name":`, p.Name)
		l = l.count(`,"hits":`, p.Hits)
		l = append(l.nanoseconds(`,"cost_ns":`, p.Cost, known), '}')
		l = comma(l, i, len(c.Pairs))
	}
	return append(l, ']')
}

// nanoseconds appends a time, null if it is not known.
func (l line) nanoseconds(key string, d time.Duration, known bool) line {
	if !known {
		return l.null(key)
	}
	return l.integer(key, int64(d))
}
