// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// program is a running fixture that waits for "go".
type program struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	path string
	// unread: nobody takes the records while the program runs.
	unread bool
}

// start runs a built program until it says "ready".
func (b *bench) start(name string, args ...string) (*program, error) {
	p := &program{path: b.path(name), cmd: exec.Command(b.path(name), args...)}
	p.cmd.Stderr = os.Stderr
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	if line, err := p.line(); err != nil || line != "ready" {
		return nil, errors.Join(fmt.Errorf("%s said %q", name, line), err, p.stop())
	}
	return p, nil
}

func (p *program) pid() int { return p.cmd.Process.Pid }

func (p *program) line() (string, error) {
	line, err := p.out.ReadString('\n')
	return strings.TrimSpace(line), err
}

// spin lets the program run once and returns the boundaries it made and what
// one took in ns: by the program's own clock or by the CPU time it used,
// whichever is less. The first counts the time in which others had the CPU,
// the second what the program does besides.
func (p *program) spin() (boundaries uint64, ns float64, err error) {
	before, err := p.cpuTime()
	if err != nil {
		return 0, 0, err
	}
	if _, err := io.WriteString(p.in, "go\n"); err != nil {
		return 0, 0, err
	}
	for {
		line, err := p.line()
		if err != nil {
			return 0, 0, fmt.Errorf("%s ended: %w", p.path, err)
		}
		if line == "again" {
			after, err := p.cpuTime()
			return boundaries, min(ns, float64(after-before)/float64(max(boundaries, 1))), err
		}
		_, _ = fmt.Sscanf(line, "total %d %f", &boundaries, &ns)
	}
}

// cpuTime is the CPU time, in ns, of all threads the program ever had. Its
// clock's number is made of the process id: include/linux/posix-timers_types.h,
// CPUCLOCK_SCHED.
func (p *program) cpuTime() (int64, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^p.pid()<<3|2), &ts); err != nil {
		return 0, fmt.Errorf("read the CPU time of %s: %w", p.path, err)
	}
	return ts.Nano(), nil
}

// stop ends the program. Errors from its runs were returned by spin.
func (p *program) stop() error {
	err := p.cmd.Process.Kill()
	_ = p.cmd.Wait()
	if err != nil {
		return fmt.Errorf("%s: %w", p.path, err)
	}
	return nil
}
