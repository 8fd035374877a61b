// SPDX-License-Identifier: Apache-2.0

package instructions

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Row is one way to trace a program.
type Row struct {
	Name         string
	Instructions float64 // of one boundary, without the program's own loop
}

// Measurement is one run, or the table that is committed. The first row is the
// floor: an empty BPF program, which is the kernel's work.
type Measurement struct {
	Kernel   string // its release
	Emulator string // its name and version; "" if unknown
	Rows     []Row
}

// Format writes a measurement as text, a line each: the kernel, the emulator, and
// every row's instructions and name.
func (m *Measurement) Format() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "kernel %s\n", m.Kernel)
	if m.Emulator != "" {
		fmt.Fprintf(&b, "emulator %s\n", m.Emulator)
	}
	for _, r := range m.Rows {
		fmt.Fprintf(&b, "%8.1f  %s\n", r.Instructions, r.Name)
	}
	return b.Bytes()
}

// Markdown is a measurement as a table of the documentation.
func (m *Measurement) Markdown() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "| Linux %s | instructions | over the floor |\n| --- | --- | --- |\n", m.Kernel)
	for _, r := range m.Rows {
		fmt.Fprintf(&b, "| %s | %.1f | %+.1f |\n", r.Name, r.Instructions, m.over(r))
	}
	return b.Bytes()
}

// Parse reads what Format has written. Empty lines and those that begin with #
// say nothing.
func Parse(text []byte) (*Measurement, error) {
	m := &Measurement{}
	seen := map[string]bool{}
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		line = strings.TrimSpace(line)
		word, rest, _ := strings.Cut(line, " ")
		rest = strings.TrimSpace(rest)
		switch {
		case line == "" || line[0] == '#':
		case word == "kernel":
			m.Kernel = rest
		case word == "emulator":
			m.Emulator = rest
		default:
			n, err := strconv.ParseFloat(word, 64)
			if err != nil || rest == "" {
				return nil, fmt.Errorf("line %d: %q: expected a number of instructions and a name", number, line)
			}
			if seen[rest] {
				return nil, fmt.Errorf("line %d: %q is there twice", number, rest)
			}
			seen[rest] = true
			m.Rows = append(m.Rows, Row{Name: rest, Instructions: n})
		}
	}
	if m.Kernel == "" || len(m.Rows) < 2 {
		return nil, errors.New("expected a line with the kernel, the floor, and rows to compare with it")
	}
	return m, nil
}

// over is what a row adds to the floor: phasetrace's own path, and the kernel
// functions it calls.
func (m *Measurement) over(r Row) float64 { return r.Instructions - m.Rows[0].Instructions }
