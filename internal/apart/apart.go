// SPDX-License-Identifier: Apache-2.0

// Package apart does a program's work in a second process, so that nobody who
// waits for the program waits for what the kernel keeps there.
//
// A thread that waits in the kernel in a way that no signal ends (for a file
// system that does not answer, a driver, a lock that another process keeps) lives
// on when its process is killed, and the process has not ended before it has. So
// the process that the user starts, the front, only passes on signals, and the
// exit status when it comes. The worker is the same program with the same
// arguments and standard streams. When it cannot end, it is left behind: it holds
// none of the streams, and is gone as soon as the kernel lets it go. When the front
// is killed, the worker kills itself.
//
// It knows nothing of what the work is.
package apart

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// workerVar tells a process that it is a worker, and the descriptors of its pipes.
const workerVar = "PHASETRACE_WORKER"

// tellBit marks an order that does not ask the worker to end. No signal is above 64.
const tellBit = 0x80

// grace is how long the front waits for a worker to end that has told its status.
const grace = 250 * time.Millisecond

// Front is what a front passes on.
type Front struct {
	// End are signals that ask the worker to end. The first is passed on; a second
	// one ends both processes as if nobody had caught it.
	End []os.Signal
	// Forward are passed on each time.
	Forward []os.Signal
	// Tell are passed on to Worker.Told, each time. Unlike Forward they cannot kill a
	// worker that is not ready for them yet.
	Tell []os.Signal
	// Started is called once the worker is there; nil for none.
	Started func()
	// Say tells the user something.
	Say func(string)
}

// Killed says that something has killed the worker.
type Killed struct{ Signal syscall.Signal }

func (e *Killed) Error() string {
	return fmt.Sprintf("the process that does the work was killed: %v", e.Signal)
}

// pipes of a front: what it writes orders to, and reads the status from.
type pipes struct{ orders, status *os.File }

// Run starts a worker and returns the status with which it ends. An error that is
// no *Killed means that there was none.
func (f Front) Run() (status int, err error) {
	signals := make(chan os.Signal, 16) // also those that come before the worker is there
	signal.Notify(signals, slices.Concat(f.End, f.Forward, f.Tell)...)
	defer signal.Stop(signals)
	cmd, p, err := start()
	if err != nil {
		return 0, fmt.Errorf("start a second process: %w", err)
	}
	defer p.orders.Close()
	defer p.status.Close()
	if f.Started != nil {
		f.Started()
	}
	told, ended := make(chan int, 1), make(chan struct{})
	go func() {
		var b [1]byte
		if n, _ := p.status.Read(b[:]); n == 1 {
			told <- int(b[0])
		}
	}()
	go func() {
		defer close(ended)
		_ = cmd.Wait() // ProcessState has it all
	}()
	asked, late := false, (<-chan time.Time)(nil)
	for {
		select {
		case sig := <-signals:
			f.pass(sig, cmd.Process, p.orders, &asked)
		case status = <-told:
			late = time.After(grace)
		case <-late:
			f.Say(fmt.Sprintf("process %d is left behind: the kernel keeps it waiting, for a file system that does not answer, a device or another program; it ends by itself after that", cmd.Process.Pid))
			return status, nil
		case <-ended:
			return outcome(cmd.ProcessState)
		}
	}
}

// pass passes a signal on. The second one that asks the worker to end acts as if
// nobody had caught it.
func (f Front) pass(sig os.Signal, worker *os.Process, orders *os.File, asked *bool) {
	if slices.Contains(f.Tell, sig) {
		_, _ = orders.Write([]byte{byte(sig.(syscall.Signal)) | tellBit}) // it may have ended
		return
	}
	if !slices.Contains(f.End, sig) {
		_ = worker.Signal(sig)
		return
	}
	signal.Reset(f.End...)
	if *asked { // it came before the line above
		_ = unix.Kill(unix.Getpid(), sig.(syscall.Signal))
	}
	*asked = true
	_, _ = orders.Write([]byte{byte(sig.(syscall.Signal))}) // it may have ended
}

func outcome(state *os.ProcessState) (int, error) {
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal()), &Killed{ws.Signal()}
	}
	return state.ExitCode(), nil
}

// start starts the worker, which inherits every descriptor under its number, the
// pipes among them.
func start() (cmd *exec.Cmd, p pipes, err error) {
	var orders, status [2]int
	if err := unix.Pipe2(orders[:], 0); err != nil {
		return nil, p, err
	}
	if err := unix.Pipe2(status[:], 0); err != nil {
		return nil, p, errors.Join(err, unix.Close(orders[0]), unix.Close(orders[1]))
	}
	unix.CloseOnExec(orders[1])
	unix.CloseOnExec(status[0])
	p = pipes{orders: os.NewFile(uintptr(orders[1]), "orders"), status: os.NewFile(uintptr(status[0]), "status")}
	cmd = exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d,%d", workerVar, orders[0], status[1]))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err = cmd.Start()
	err = errors.Join(err, unix.Close(orders[0]), unix.Close(status[1]))
	if err != nil {
		err = errors.Join(err, p.orders.Close(), p.status.Close())
	}
	return cmd, p, err
}
