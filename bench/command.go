// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/phasetrace/phasetrace/internal/apart"
)

// running is the phasetrace command at work.
type running struct {
	cmd   *exec.Cmd
	errs  strings.Builder
	out   strings.Builder
	ended chan error
}

// startCommand runs phasetrace on a program and returns when it is attached.
func (b *bench) startCommand(p *program, args ...string) (*running, error) {
	ready := filepath.Join(b.dir, "ready")
	_ = os.Remove(ready)
	r := &running{ended: make(chan error, 1)}
	r.cmd = exec.Command(b.binary, append([]string{"-p", strconv.Itoa(p.pid()), "--gpu", "off", "--ready-file", ready}, args...)...)
	r.cmd.Stderr, r.cmd.Stdout = &r.errs, &r.out
	if err := r.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { r.ended <- r.cmd.Wait() }()
	for {
		if _, err := os.Stat(ready); err == nil {
			return r, nil
		}
		select {
		case err := <-r.ended:
			return nil, fmt.Errorf("phasetrace ended: %w: %s", err, r.errs.String())
		case <-time.After(time.Millisecond):
		}
	}
}

func (r *running) stop() error {
	if err := r.cmd.Process.Signal(os.Interrupt); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	if err := <-r.ended; err != nil {
		return fmt.Errorf("phasetrace: %w: %s", err, r.errs.String())
	}
	return nil
}

func (b *bench) command(p *program) (func() error, error) {
	r, err := b.startCommand(p, "--format", "summary")
	if err != nil {
		return nil, err
	}
	return r.stop, nil
}

// usage is what a process has used so far.
type usage struct {
	peakKiB uint64
	cpu     time.Duration
}

func usageOf(pid int) (usage, error) {
	var u usage
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return u, err
	}
	for line := range strings.Lines(string(status)) {
		_, _ = fmt.Sscanf(line, "VmHWM: %d kB", &u.peakKiB)
	}
	sched, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return u, err
	}
	// Fields 14 and 15, after the command, in ticks of 10 ms (USER_HZ).
	_, rest, _ := strings.Cut(string(sched), ") ")
	f := strings.Fields(rest)
	user, _ := strconv.Atoi(f[11])
	sys, _ := strconv.Atoi(f[12])
	u.cpu = time.Duration(user+sys) * 10 * time.Millisecond
	return u, nil
}

// sustainedTable lets one thread run at full speed and holds phasetrace to
// losing nothing.
func sustainedTable(ctx context.Context, b *bench) error {
	if b.binary == "" {
		return nil
	}
	seconds := 60
	phases := 1 << 20
	if b.short {
		seconds, phases = 0, b.phases
	}
	p, err := b.start("spin", "1", strconv.Itoa(phases), "inline")
	if err != nil {
		return err
	}
	r, err := b.startCommand(p, "--format", "summary")
	if err != nil {
		return errors.Join(err, p.stop())
	}
	worker := apart.WorkerOf(r.cmd.Process.Pid)
	before, err := usageOf(worker)
	if err != nil {
		return err
	}
	began := time.Now()
	var total uint64
	for {
		n, _, err := p.spin()
		if err != nil {
			return err
		}
		total += n
		if time.Since(began) >= time.Duration(seconds)*time.Second || ctx.Err() != nil {
			break
		}
	}
	took := time.Since(began)
	after, err := usageOf(worker)
	if err := errors.Join(err, r.stop(), p.stop()); err != nil {
		return err
	}
	fmt.Fprintf(b.out, "\nsustained, one thread at full speed, summary only\n")
	fmt.Fprintf(b.out, "  %d boundaries in %.1f s: %.0f a second\n", total, took.Seconds(), float64(total)/took.Seconds())
	fmt.Fprintf(b.out, "  phasetrace: %.0f %% of one core, peak memory %d MiB (%d MiB when attached)\n",
		100*float64(after.cpu-before.cpu)/float64(took), after.peakKiB>>10, before.peakKiB>>10)
	for line := range strings.Lines(r.errs.String() + r.out.String()) {
		if strings.Contains(line, "lost") || strings.Contains(line, "received") || strings.Contains(line, "boundaries") {
			fmt.Fprint(b.out, "  it says: ", strings.TrimLeft(line, " "))
		}
	}
	return nil
}
