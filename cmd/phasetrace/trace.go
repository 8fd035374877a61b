// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"

	"github.com/phasetrace/phasetrace/internal/output/file"
	"github.com/phasetrace/phasetrace/internal/privileges"
	"github.com/phasetrace/phasetrace/internal/target"
	tracing "github.com/phasetrace/phasetrace/internal/trace"
)

// trace runs one session for trace, run and demo.
func trace(ctx context.Context, o *traceOptions, s *streams) error {
	opts, err := o.parse()
	if err != nil {
		return err
	}
	out, err := openOutput(o, s)
	if err != nil {
		return &statusError{statusFailed, err}
	}
	opts.Sink = out.sink
	opts.Message = func(m string) { fmt.Fprintf(s.err, "phasetrace: %s\n", m) }
	opts.Attached = func(a tracing.Attached) error {
		opts.Message(a.Message)
		if s.ownProcess {
			err := privileges.Reduce(privileges.Needs{Admin: a.NeedsAdmin, Signals: len(o.command) > 0})
			if err != nil {
				opts.Message("warning: " + err.Error())
			}
		}
		return createReady(o.readyFile)
	}
	stopGPU, err := o.startGPU(ctx, &opts)
	if err != nil {
		return &statusError{statusFailed, errors.Join(err, out.abandon())}
	}
	defer stopGPU()
	ctx, stop := untilSignal(ctx)
	defer stop()

	var command *target.Spawned
	if len(o.command) > 0 {
		if command, err = target.Spawn(o.command, nil, nil); err != nil {
			return &statusError{commandStatus(err), errors.Join(err, out.abandon())}
		}
		opts.Spawned = command
		defer command.ForwardSignals(unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2)()
	}
	sum, err := tracing.Run(ctx, opts)
	if sum == nil {
		err = errors.Join(err, out.abandon())
		if command != nil {
			err = errors.Join(err, command.Kill())
			_, _ = command.Wait()
		}
		return &statusError{statusFailed, err}
	}
	return o.finish(sum, errors.Join(err, out.finish(sum)), command)
}

// finish turns what happened into an exit status.
func (o *traceOptions) finish(sum *tracing.Summary, err error, command *target.Spawned) error {
	status := statusFine
	if command != nil {
		status = endCommand(command, sum)
	}
	switch {
	case err != nil:
		return &statusError{statusFailed, err}
	case o.strict && sum.ViolationTotal > 0:
		return &statusError{statusViolations, fmt.Errorf("%d violations of strict nesting (--strict)", sum.ViolationTotal)}
	case o.strict && sum.Lost+sum.LostOther > 0:
		return &statusError{statusLost, fmt.Errorf("%d records were lost (--strict)", sum.Lost+sum.LostOther)}
	case status != statusFine:
		return &statusError{status, nil}
	}
	return nil
}

// endCommand waits for the command and returns its status. When tracing ended
// first the command is asked to end as well: it was started for the trace.
func endCommand(command *target.Spawned, sum *tracing.Summary) int {
	if sum.EndReason != "target_exit" {
		_ = command.Signal(unix.SIGTERM)
	}
	state, err := command.Wait()
	if err != nil {
		return statusFailed
	}
	return target.ExitStatus(state)
}

func commandStatus(err error) int {
	var ce *target.CommandError
	if errors.As(err, &ce) {
		return ce.Status
	}
	return statusFailed
}

// untilSignal ends the context at Ctrl-C or SIGTERM. A second one ends the
// program at once: probes and semaphores go with it.
func untilSignal(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, unix.SIGTERM)
	// A closed pipe is an error of the output like any other: the session then
	// ends in order. Caught, not ignored, so that commands do not inherit it.
	pipe := make(chan os.Signal, 1)
	signal.Notify(pipe, unix.SIGPIPE)
	done := make(chan struct{})
	go func() {
		select {
		case <-signals:
			cancel()
			signal.Stop(signals)
		case <-done:
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		signal.Stop(pipe)
		close(done)
		cancel()
	}
}

// createReady creates the file that tells scripts that tracing has begun.
func createReady(path string) error {
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("create the ready file: %w", err)
	}
	if _, err := fmt.Fprintf(f, "%s\n", time.Now().Format(time.RFC3339Nano)); err != nil {
		return fmt.Errorf("write the ready file: %w", errors.Join(err, f.Close()))
	}
	return f.Close()
}

// isTerminal reports whether a stream is one.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && file.IsTerminal(f)
}
