// SPDX-License-Identifier: Apache-2.0

package process

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

func (p *Process) openPidfd() error {
	fd, err := unix.PidfdOpen(p.PID, unix.PIDFD_NONBLOCK)
	switch err {
	case nil:
	case unix.ESRCH:
		return ErrNoProcess
	default:
		return fmt.Errorf("pidfd_open (needs Linux 5.10): %w", err)
	}
	// Non-blocking, so the runtime's poller waits and no OS thread does.
	p.pidfd = os.NewFile(uintptr(fd), "pidfd")
	return p.watch()
}

// Done returns a channel that is closed when the process has ended, all its
// threads included, whether or not its parent has reaped it. Close leaves the
// channel as it is: a closed handle notices nothing more.
func (p *Process) Done() <-chan struct{} { return p.done }

// watch starts the goroutine that closes done; Close ends it.
func (p *Process) watch() error {
	conn, err := p.pidfd.SyscallConn()
	if err != nil {
		return fmt.Errorf("watch the pidfd: %w", err)
	}
	p.waiter.Go(func() {
		ended := false
		err := conn.Read(func(fd uintptr) bool {
			ended = readable(int(fd))
			return ended
		})
		if err == nil && ended {
			close(p.done)
		}
	})
	return nil
}

// readable reports, without waiting, whether a pidfd's process has ended.
func readable(fd int) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds, 0)
		if err == unix.EINTR {
			continue
		}
		return err == nil && n > 0 && fds[0].Revents&(unix.POLLIN|unix.POLLHUP) != 0
	}
}

// Wait returns nil when the process has ended, the context's error when that
// comes first, and ErrClosed after Close.
func (p *Process) Wait(ctx context.Context) error {
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-p.closing:
		return ErrClosed
	}
}

// Signal sends a signal to exactly this process, never to a newer one with its
// PID. After its end it returns ErrNoProcess.
func (p *Process) Signal(sig unix.Signal) error {
	conn, err := p.pidfd.SyscallConn()
	if err != nil {
		return ErrClosed
	}
	var sent error
	if err := conn.Control(func(fd uintptr) {
		sent = unix.PidfdSendSignal(int(fd), sig, nil, 0)
	}); err != nil {
		return ErrClosed
	}
	switch sent {
	case nil:
		return nil
	case unix.ESRCH:
		return ErrNoProcess
	}
	return fmt.Errorf("send %v to process %d: %w", sig, p.PID, sent)
}
