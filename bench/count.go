// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/phasetrace/phasetrace/bench/instructions"
)

const (
	// countPhases is how many phases a stretch has: so few that hardly any timer
	// interrupt falls into one.
	countPhases = 100
	// countStretches is how many count. Before them comes one that does not: the
	// first hits make the thread's state.
	countStretches = 9
)

// countVariants are what is counted, the floor first.
func countVariants() []variant {
	out := []variant{{name: floorName, begin: empty}}
	for _, n := range partNames {
		switch n.program {
		case "part_empty":
		case "part_wakeup": // whom the kernel wakes, and when that one runs, is not ours
		default:
			out = append(out, variant{
				name:  strings.Replace(n.program, "_", " ", 1) + ": " + n.what,
				begin: func(p *program) (func() error, error) { return attachPart(p, n.program) },
			})
		}
	}
	for _, v := range partVariants() {
		if strings.HasPrefix(v.name, "phasetrace: ") {
			out = append(out, v)
		}
	}
	return append(out, variant{name: "phasetrace: counted in the kernel (--aggregate)", begin: counted})
}

// count measures all variants on a machine whose clock counts instructions, and
// writes a measurement. dir holds the program "spin", whose main thread runs while
// everybody else on the one processor waits. Nobody reads its records before it
// is done.
func count(dir string, out io.Writer) (err error) {
	b := &bench{dir: dir}
	p, err := b.start("spin", "0", strconv.Itoa(countPhases), "inline")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	p.unread = true
	loop, err := stretches(p)
	if err != nil {
		return err
	}
	m := instructions.Measurement{Kernel: kernelRelease()}
	for _, v := range countVariants() {
		end, err := v.begin(p)
		if err != nil {
			return fmt.Errorf("%s: %w", v.name, err)
		}
		n, err := stretches(p)
		if err := errors.Join(err, end()); err != nil {
			return fmt.Errorf("%s: %w", v.name, err)
		}
		m.Rows = append(m.Rows, instructions.Row{Name: v.name, Instructions: n - loop})
	}
	_, err = out.Write(m.Format())
	return err
}

// stretches is the median of some short runs, in instructions a boundary.
func stretches(p *program) (float64, error) {
	var all []float64
	for range 1 + countStretches {
		_, ns, err := p.spin()
		if err != nil {
			return 0, err
		}
		all = append(all, ns)
	}
	return median(all[1:]), nil
}

func kernelRelease() string {
	var u unix.Utsname
	_ = unix.Uname(&u)
	return unix.ByteSliceToString(u.Release[:])
}
