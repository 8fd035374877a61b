// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// patience bounds the wait for another tracer to be attached.
const patience = 30 * time.Second

// peers are the other tracers that this machine has.
func (b *bench) peers() []variant {
	var out []variant
	if bpftrace := b.findTool("bpftrace"); bpftrace != nil {
		fmt.Fprintln(b.out, bpftrace.version())
		for _, s := range []struct{ name, enter, exit string }{
			{"bpftrace: empty", ``, ``},
			{"bpftrace: count", `@=count();`, `@=count();`},
			{"bpftrace: latencies by name", `@t[tid]=nsecs;`, `@h[str(arg1)]=hist(nsecs-@t[tid]);delete(@t[tid]);`},
			{"bpftrace: printf of the fields",
				`printf("%llu %d %d enter %s %llu %d\n",nsecs,pid,tid,str(arg1),arg0,arg3);`,
				`printf("%llu %d %d exit %s %llu\n",nsecs,pid,tid,str(arg1),arg0);`},
		} {
			out = append(out, variant{name: s.name, begin: func(p *program) (func() error, error) {
				return b.bpftrace(bpftrace, p, s.enter, s.exit)
			}})
		}
	} else {
		b.progress("")
		fmt.Fprintln(b.log, "bench: bpftrace is not installed and left out")
	}
	if perf := b.findTool("perf"); perf != nil {
		fmt.Fprintln(b.out, perf.version())
		out = append(out, variant{name: "perf record of both", begin: func(p *program) (func() error, error) {
			return b.perf(perf, p)
		}})
	} else {
		b.progress("")
		fmt.Fprintln(b.log, "bench: perf is not installed and left out")
	}
	return out
}

func (b *bench) bpftrace(t tool, p *program, enter, exit string) (func() error, error) {
	script := fmt.Sprintf(`BEGIN{printf("ready\n");} usdt:%[1]s:phasetrace:enter{%[2]s} usdt:%[1]s:phasetrace:exit{%[3]s}`,
		p.path, enter, exit)
	cmd := t.command("-q", "-p", strconv.Itoa(p.pid()), "-e", script)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	var errs strings.Builder
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	r := bufio.NewReader(out)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return nil, fmt.Errorf("bpftrace: %w: %s", errors.Join(err, cmd.Wait()), errs.String())
		}
		if strings.TrimSpace(line) == "ready" {
			break
		}
	}
	// It blocks when nobody reads what it prints.
	copied := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, r)
		copied <- err
	}()
	return func() error {
		if err := interrupt(cmd); err != nil {
			return err
		}
		err := <-copied
		_ = cmd.Wait() // its exit status after an interrupt says nothing
		return err
	}, nil
}

// interrupt asks a tool to end, and makes it after a while.
func interrupt(cmd *exec.Cmd) error {
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		return err
	}
	time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	return nil
}

// perf records both probes. Its probes are made once and stay for the run.
func (b *bench) perf(t tool, p *program) (func() error, error) {
	if err := perfProbes(t, p.path); err != nil {
		return nil, err
	}
	ctl, ack := filepath.Join(b.dir, "ctl"), filepath.Join(b.dir, "ack")
	for _, f := range []string{ctl, ack} {
		_ = os.Remove(f)
		if err := syscall.Mkfifo(f, 0o600); err != nil {
			return nil, err
		}
	}
	data := filepath.Join(b.dir, "perf.data")
	cmd := t.command("record", "-q", "-o", data, "-e", "sdt_phasetrace:*", "-p", strconv.Itoa(p.pid()),
		"--delay=-1", "--control", "fifo:"+ctl+","+ack)
	var errs strings.Builder
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	// It opens both ends itself; an answer means that the events count.
	in, err := os.OpenFile(ctl, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	answers, err := os.OpenFile(ack, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	_ = answers.SetReadDeadline(time.Now().Add(patience))
	if _, err := in.WriteString("enable\n"); err != nil {
		return nil, err
	}
	if _, err := answers.Read(make([]byte, 16)); err != nil {
		_ = interrupt(cmd)
		return nil, fmt.Errorf("perf record: %w: %s", err, errs.String())
	}
	return func() error {
		err := interrupt(cmd)
		_ = cmd.Wait() // ends by the signal
		return errors.Join(err, in.Close(), answers.Close())
	}, nil
}

func perfProbes(t tool, path string) error {
	if text, err := t.command("probe", "-l", "sdt_phasetrace:*").CombinedOutput(); err == nil && strings.Contains(string(text), path) {
		return nil
	}
	_ = t.command("probe", "-q", "-d", "sdt_phasetrace:*").Run()
	for _, args := range [][]string{
		{"buildid-cache", "--add", path},
		{"probe", "-q", "sdt_phasetrace:*"},
	} {
		if text, err := t.command(args...).CombinedOutput(); err != nil {
			return fmt.Errorf("perf %s: %w: %s", strings.Join(args, " "), err, text)
		}
	}
	return nil
}

// removePerfProbes leaves the machine as it was.
func (b *bench) removePerfProbes() {
	if perf := b.findTool("perf"); perf != nil {
		_ = perf.command("probe", "-q", "-d", "sdt_phasetrace:*").Run()
		_ = perf.command("buildid-cache", "--remove", b.path("spin")).Run()
	}
}
