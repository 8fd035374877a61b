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
)

// program is a running fixture that waits for "go".
type program struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	path string
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
// one took, in ns of its own measure.
func (p *program) spin() (boundaries uint64, ns float64, err error) {
	if _, err := io.WriteString(p.in, "go\n"); err != nil {
		return 0, 0, err
	}
	for {
		line, err := p.line()
		if err != nil {
			return 0, 0, fmt.Errorf("%s ended: %w", p.path, err)
		}
		if line == "again" {
			return boundaries, ns, nil
		}
		_, _ = fmt.Sscanf(line, "total %d %f", &boundaries, &ns)
	}
}

// stop ends the program. What went wrong while it ran, spin has told.
func (p *program) stop() error {
	err := p.cmd.Process.Kill()
	_ = p.cmd.Wait()
	if err != nil {
		return fmt.Errorf("%s: %w", p.path, err)
	}
	return nil
}
