// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/phasetrace/phasetrace/internal/stream"

	"golang.org/x/sys/unix"

	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/output/file"
	"github.com/phasetrace/phasetrace/internal/output/human"
	"github.com/phasetrace/phasetrace/internal/privileges"
	"github.com/phasetrace/phasetrace/internal/process"
	"github.com/phasetrace/phasetrace/internal/session"
	"github.com/phasetrace/phasetrace/internal/usdt"
)

// trace runs one session for trace, run and demo.
func trace(ctx context.Context, o *traceOptions, s *streams) error {
	opts, err := o.parse()
	if err != nil {
		return err
	}
	if err := loader.CheckKernel(opts.Without); err != nil {
		return &statusError{statusFailed, err}
	}
	opts.Message = s.say
	if s.ownProcess && s.worker == nil {
		if done, err := o.front(opts.Message); done {
			return err
		}
	}
	ctx, caught, stop := untilSignal(ctx, s.worker)
	defer stop()
	opts.Advice = topicAdvice
	if o.shared {
		opts.Message("warning: the command has the same standard output, and what it writes comes between the JSON lines: -o FILE keeps them apart")
	}
	opts.LeftOff = func(pairs []usdt.PairSpec) { opts.Message(offByDefault(pairs)) }
	ready, err := o.newReady()
	if err != nil {
		return &statusError{statusFailed, err}
	}
	defer ready.close()
	out, err := openOutputs(ctx, o, s, opts.Message)
	if err != nil {
		return &statusError{statusFailed, err}
	}
	opts.Sink = out
	opts.Attached = func(a session.Attached) error { return o.attached(ctx, a, ready, out, s, opts.Message) }
	stopGPU, err := o.startGPU(ctx, &opts)
	if err != nil {
		return &statusError{statusFailed, errors.Join(err, out.abandon())}
	}
	defer stopGPU()
	if ctx.Err() != nil {
		return &statusError{statusFailed, errors.Join(errors.New("interrupted before anything was attached: nothing was traced"), out.abandon())}
	}

	var command *process.Spawned
	if len(o.command) > 0 {
		if command, err = process.Spawn(o.command, nil, nil); err != nil {
			return &statusError{commandStatus(err), errors.Join(err, out.abandon())}
		}
		defer command.ForwardSignals(forCommand...)()
	}
	sum, err := o.run(ctx, opts, command, s)
	if sum == nil {
		err = errors.Join(err, ready.withdraw(), out.abandon())
		if command != nil {
			err = errors.Join(err, command.Kill())
			_, _ = command.Wait()
		}
		return &statusError{statusFailed, err}
	}
	err = errors.Join(err, out.finish(sum))
	o.sayRestart(sum, opts.Message)
	if command != nil && sum.EndReason != "target_exit" {
		passOn(caught(), command, opts.Message)
	}
	return o.finish(sum, err, command)
}

// run traces the targets and the command, if there is one, to the end of the
// session.
func (o *traceOptions) run(ctx context.Context, cfg session.Config, command *process.Spawned, s *streams) (sum *stream.Summary, err error) {
	requests, stop := o.snapshots(s)
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var traced *session.Session
	attached := cfg.Attached
	cfg.Attached = func(a session.Attached) error {
		go o.showSnapshots(ctx, traced, requests, s)
		return attached(a)
	}
	traced, err = session.Open(cfg)
	if err != nil {
		return nil, advise(err)
	}
	if s.worker != nil {
		s.worker.Settle(traced.Settle)
	}
	defer func() { err = errors.Join(err, traced.Close()) }()
	if err := o.add(ctx, traced, command, cfg.Message); err != nil {
		return nil, err
	}
	if err := o.addExecutables(ctx, traced, cfg.Message); err != nil {
		return nil, err
	}
	o.noteExecutables()
	sum, err = traced.Run(ctx)
	return sum, advise(err)
}

// add adds the targets. Some may have nothing to trace, but not all.
func (o *traceOptions) add(ctx context.Context, s *session.Session, command *process.Spawned, say func(string)) error {
	var targets []session.Target
	for _, pid := range o.targets {
		targets = append(targets, session.Target{PID: pid})
	}
	if command != nil {
		targets = append(targets, session.Target{Spawned: command})
	}
	var blank []error
	for _, t := range targets {
		err := s.Add(ctx, t)
		if err != nil && !errors.Is(err, session.ErrNoMarkers) {
			return err
		}
		if err != nil {
			blank = append(blank, fmt.Errorf("process %d: %w", t.PID, advise(err)))
		}
	}
	if len(blank) == len(targets) && len(o.executables) == 0 {
		return errors.Join(blank...)
	}
	for _, err := range blank {
		say("warning: " + err.Error())
	}
	return nil
}

// attached is called when every probe is in place.
func (o *traceOptions) attached(ctx context.Context, a session.Attached, ready *readyFile, out *outputs, s *streams, say func(string)) error {
	say(a.Message)
	if off := o.offAdvice(a.Off); off != "" {
		say(off)
	}
	if quiet := o.quietAdvice(out, s); quiet != "" {
		say(quiet)
	}
	return ready.announce(ctx, say, func() {
		if !s.ownProcess {
			return
		}
		err := privileges.Reduce(privileges.Needs{Admin: a.NeedsAdmin, Signals: len(o.command) > 0})
		if err != nil {
			say("warning: " + err.Error())
		}
	})
}

// finish turns what happened into an exit status.
func (o *traceOptions) finish(sum *stream.Summary, err error, command *process.Spawned) error {
	status := statusFine
	if command != nil {
		status = statusOf(command)
	}
	switch {
	case err != nil:
		return &statusError{statusFailed, err}
	case o.strict && sum.ViolationTotal > 0:
		return &statusError{statusViolations, fmt.Errorf("%d violations of strict nesting (--strict)", sum.ViolationTotal)}
	case o.strict && sum.Lost+sum.LostOther > 0:
		return &statusError{statusLost, fmt.Errorf("%d records were lost (--strict)", sum.Lost+sum.LostOther)}
	case o.strict && sum.Dropped.Total() > 0:
		return &statusError{statusLost, fmt.Errorf("%d records were not written (--strict)", sum.Dropped.Total())}
	case status != statusFine:
		return &statusError{status, nil}
	}
	return nil
}

// passOn lets a command that outlives its trace know what phasetrace was told: a
// signal that ended the trace is meant for both. A terminal has sent its Ctrl-C
// to the command already. Whatever else ended the trace, the command goes on.
func passOn(sig os.Signal, command *process.Spawned, say func(string)) {
	switch {
	case sig == nil:
		say(fmt.Sprintf("tracing is over; waiting for process %d to end", command.PID))
	case sig != os.Interrupt || !inForeground():
		_ = command.Signal(sig) // it may have ended meanwhile
	}
}

// inForeground reports whether this process is among those that its terminal
// sends Ctrl-C to.
func inForeground() bool {
	tty, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	defer tty.Close()
	group, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// statusOf waits for the command and returns its status.
func statusOf(command *process.Spawned) int {
	state, err := command.Wait()
	if err != nil {
		return statusFailed
	}
	return process.ExitStatus(state)
}

func commandStatus(err error) int {
	var ce *process.CommandError
	if errors.As(err, &ce) {
		return ce.Status
	}
	return statusFailed
}

// isTerminal reports whether a stream is one.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && file.IsTerminal(f)
}

// say writes a message to standard error. On a terminal it is broken between words,
// unless it quotes what a user may want to copy.
func (s *streams) say(message string) {
	line := []byte("phasetrace: " + human.Escape(message))
	if !strings.Contains(message, "'") {
		line = human.AppendFolded(nil, line, columns(s.err), len("phasetrace: "))
	}
	_, _ = s.err.Write(append(line, '\n'))
}

// columns is how many columns the terminal of a stream has, 0 if it is none.
func columns(w io.Writer) int {
	if f, ok := w.(*os.File); ok {
		return file.Columns(f)
	}
	return 0
}
