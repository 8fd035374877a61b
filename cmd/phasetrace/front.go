// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"slices"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/phasetrace/phasetrace/internal/apart"
	"github.com/phasetrace/phasetrace/internal/privileges"
)

var (
	// ending are the signals that end a session.
	ending = []os.Signal{os.Interrupt, unix.SIGTERM}
	// forCommand are those that are meant for the command of run.
	forCommand = []os.Signal{unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2}
	// forSnapshot asks for a snapshot, where there is no command.
	forSnapshot = unix.SIGUSR1
)

// front lets a second process trace and waits for it, but not for what the kernel
// keeps there once the session is over. done is false where there can be none.
func (o *traceOptions) front(say func(string)) (done bool, err error) {
	f := apart.Front{End: ending, Say: say, Started: func() {
		if err := privileges.Drop(); err != nil {
			say("warning: " + err.Error())
		}
	}}
	if len(o.command) > 0 {
		f.Forward = forCommand
	} else {
		f.Tell = []os.Signal{forSnapshot}
	}
	status, err := f.Run()
	killed := new(apart.Killed)
	switch {
	case errors.As(err, &killed):
		if slices.Contains(ending, os.Signal(killed.Signal)) {
			err = nil // it was meant for both
		}
		return true, &statusError{status, err}
	case err != nil:
		say("warning: " + err.Error() + ": tracing in this one, which a program can keep from ending on time")
		return false, nil
	case status != statusFine:
		return true, &statusError{status, nil} // it has told why
	}
	return true, nil
}

// untilSignal ends the context at Ctrl-C or SIGTERM; caught then returns which it
// was, and nil before. A second one ends the program at once, in a worker by way of
// its front: probes and semaphores go with it.
func untilSignal(ctx context.Context, worker *apart.Worker) (_ context.Context, caught func() os.Signal, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, ending...)
	var asked <-chan os.Signal
	release := func() { signal.Stop(signals) }
	if worker != nil {
		asked, release = worker.Asked(), func() {} // a terminal sends Ctrl-C to both
	}
	// A closed pipe is an error of the output like any other: the session then
	// ends in order. Caught, not ignored, so that commands do not inherit it.
	pipe := make(chan os.Signal, 1)
	signal.Notify(pipe, unix.SIGPIPE)
	done := make(chan struct{})
	var first atomic.Pointer[os.Signal]
	end := func(sig os.Signal) {
		first.Store(&sig)
		cancel()
		release()
	}
	go func() {
		select {
		case sig := <-signals:
			end(sig)
		case sig := <-asked:
			end(sig)
		case <-done:
		}
	}()
	caught = func() os.Signal {
		if sig := first.Load(); sig != nil {
			return *sig
		}
		return nil
	}
	return ctx, caught, func() {
		release()
		signal.Stop(pipe)
		close(done)
		cancel()
	}
}
