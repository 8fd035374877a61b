// SPDX-License-Identifier: Apache-2.0

package summary

import (
	"fmt"
	"strings"

	"github.com/phasetrace/phasetrace/internal/gpu"
	"github.com/phasetrace/phasetrace/internal/output/human"
	"github.com/phasetrace/phasetrace/internal/output/phrase"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// maxDevices is how many devices get tables of their own.
const maxDevices = 4

// sharedMark follows a sum that others may have had a part in.
const sharedMark = "§"

// gpus appends what is known of the GPUs' memory.
func (p *printer) gpus() {
	s := p.s
	if len(s.Devices) == 0 {
		if s.GPUStatus != "" {
			p.printf("\nno GPU memory: %s\n", text(phrase.NoGPU(s.GPUStatus)))
		}
		return
	}
	p.heading(false, "GPU memory (%s)", human.Plural(s.GPUSamples, "sample"))
	for _, d := range s.Devices {
		p.printf("  %-8s %s", label(s.Devices, d.ID), nameOf(d))
		p.printf(": %s\n", p.peakOf(d.ID))
	}
	roots, _ := tree(withoutOpen(s), p.o.MaxPhases)
	shown, left := 0, 0
	var all memoryMarks
	for _, d := range s.Devices {
		rows := memoryRows(roots, d.ID, &all)
		switch {
		case len(rows) == 0:
		case shown == maxDevices:
			left++
		default:
			shown++
			p.printf("\n")
			p.table([]string{label(s.Devices, d.ID) + " memory", "change", "per call", "peak", "reads/call", "certain"}, rows)
		}
	}
	if left > 0 {
		p.printf("  %s and %d more devices in the JSON lines\n", human.Ellipsis, left)
	}
	p.explain(all)
}

// memoryMarks are what is explained below the tables.
type memoryMarks struct{ approximate, shared, partial bool }

func (p *printer) explain(m memoryMarks) {
	if m.approximate {
		p.printf("  ~ approximate: for some of the calls, reads before and after a boundary differ, or do not settle it\n")
	}
	if m.shared {
		p.printf("  %s shared: other threads of the program in a phase, or other programs, may have moved some of it\n", sharedMark)
	}
	if m.partial {
		p.printf("  %s of some of the calls: the others were too short for a read of their own, or the GPU could not be read\n", partialMark)
	}
}

// memoryRows returns a row for each phase of which something is known on a device,
// and for those around it.
func memoryRows(roots []*node, device int, all *memoryMarks) (rows [][]string) {
	var walk func(n *node, depth int) bool
	walk = func(n *node, depth int) bool {
		at := len(rows)
		row, known := memoryRow(n, depth, device, all)
		rows = append(rows, row)
		for _, inner := range n.inner {
			known = walk(inner, depth+1) || known
		}
		if !known {
			rows = rows[:at]
		}
		return known
	}
	for _, n := range roots {
		walk(n, 0)
	}
	return rows
}

func memoryRow(n *node, depth, device int, all *memoryMarks) (row []string, known bool) {
	name := strings.Repeat("  ", min(depth, maxIndent)) + n.path.Name()
	row = []string{name, human.Unknown, human.Unknown, human.Unknown, human.Unknown, human.Unknown}
	if n.stats == nil {
		return row, false
	}
	for i := range n.stats.GPU {
		if g := &n.stats.GPU[i]; g.Device == device && (g.Change.Known || g.Peak.Known) {
			fillMemory(row, n.stats, g, all)
			return row, true
		}
	}
	return row, false
}

func fillMemory(row []string, st *stream.PathStats, g *stream.PathGPU, all *memoryMarks) {
	if g.Change.Known {
		about, marks := "", ""
		if g.Approximate > 0 {
			about, all.approximate = "~", true
		}
		if g.Shared > 0 {
			marks, all.shared = marks+sharedMark, true
		}
		if g.Changes < st.Count {
			marks, all.partial = marks+partialMark, true
		}
		row[1] = about + human.Change(g.Change.N) + marks
		row[2] = about + human.Change(g.Change.N/int64(g.Changes))
		row[5] = percent(g.Certain, g.Changes)
	}
	if g.Peak.Known {
		row[3] = human.Bytes(g.Peak.N)
	}
	if st.Count > 0 {
		row[4] = fmt.Sprintf("%.1f", float64(g.Samples)/float64(st.Count))
	}
}

// percent rounds down: all is all.
func percent(part, whole uint64) string { return fmt.Sprintf("%d %%", 100*part/whole) }

func (p *printer) peakOf(device int) string {
	for i := range p.s.RunPeak {
		r := &p.s.RunPeak[i]
		if r.Device != device || !r.Used.Known {
			continue
		}
		peak := "peak " + human.Bytes(r.Used.N)
		switch {
		case r.Phase.Path != nil:
			return peak + " in " + text(r.Phase.Path.String())
		case r.Phase.Likely.Path != nil:
			return peak + fmt.Sprintf(", likely in %s (a guess: %d threads were in different phases, and this one was entered last)",
				text(r.Phase.Likely.Path.String()), len(r.Phase.Candidates)+r.Phase.More)
		}
		return peak + " outside every phase"
	}
	return "peak " + human.Unknown + " (never read)"
}

// label is a device's short name, as nvidia-smi counts.
func label(devices []gpu.Device, id int) string {
	for i := range devices {
		if d := &devices[i]; d.ID == id {
			return Label(d)
		}
	}
	return fmt.Sprintf("device%d", id)
}

// Label is a device's short name, as nvidia-smi counts: "gpu0", "gpu1/mig2".
func Label(d *gpu.Device) string {
	if d.MIG >= 0 {
		return fmt.Sprintf("gpu%d/mig%d", d.Index, d.MIG)
	}
	return fmt.Sprintf("gpu%d", d.Index)
}

func nameOf(d gpu.Device) string {
	if d.Name == "" {
		return "(unnamed)"
	}
	return text(d.Name)
}
