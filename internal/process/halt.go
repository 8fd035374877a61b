// SPDX-License-Identifier: Apache-2.0

package process

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Halter stops programs that have just started, for a bounded time, as a debugger
// does: they use no CPU meanwhile. The kernel resumes them when this process
// dies, for whatever reason.
type Halter struct {
	limit time.Duration
	calls chan func()
	once  sync.Once
	done  chan struct{} // closed by Close
	over  chan struct{} // closed when no program is halted any more
	halts map[int]*halt // by PID; of the thread that traces them
}

// halt is one program that is stopped, or about to be.
type halt struct {
	until    time.Time
	released bool
}

// closeTime bounds how long Close waits for programs to stop.
const closeTime = time.Second

// haltPoll is how often a program that is about to stop or resume is checked.
const haltPoll = 200 * time.Microsecond

// NewHalter returns a halter that stops no program for longer than limit. The
// caller must Close it.
func NewHalter(limit time.Duration) *Halter {
	h := &Halter{limit: limit, calls: make(chan func()), done: make(chan struct{}), over: make(chan struct{}), halts: make(map[int]*halt)}
	go h.run()
	return h
}

// run makes every ptrace call: to the kernel the tracer is one thread, and it
// resumes all programs when that thread ends, which it does with this goroutine.
func (h *Halter) run() {
	runtime.LockOSThread()
	if unix.Gettid() == os.Getpid() { // the main thread does not end with its goroutine
		other := make(chan struct{})
		go func() {
			runtime.LockOSThread()
			close(other)
			h.loop()
		}()
		<-other
		runtime.UnlockOSThread()
		return
	}
	h.loop()
}

func (h *Halter) loop() {
	defer close(h.over)
	for {
		var poll <-chan time.Time
		if len(h.halts) > 0 {
			poll = time.After(haltPoll)
		}
		select {
		case call := <-h.calls:
			call()
		case <-poll:
			h.look()
		case <-h.done:
			h.letAllGo()
			return
		}
	}
}

// letAllGo resumes every program. One that does not stop in time, and so cannot
// be resumed, is released by the end of the thread.
func (h *Halter) letAllGo() {
	for _, halt := range h.halts {
		halt.released = true
	}
	for until := time.Now().Add(closeTime); len(h.halts) > 0 && time.Now().Before(until); time.Sleep(haltPoll) {
		h.look()
	}
}

// Halt makes a process stop before it runs another instruction in user space. It
// must have one thread, and must not be a child of this process. If it returns an
// error, the process runs on.
func (h *Halter) Halt(pid int) error {
	return h.call(func() error {
		if h.halts[pid] != nil {
			return nil
		}
		if st, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil {
			if s, err := parseStat(st); err == nil && s.Parent == os.Getpid() {
				return fmt.Errorf("halt process %d: it is a child of this process", pid)
			}
		}
		if err := unix.PtraceSeize(pid); err != nil {
			return fmt.Errorf("halt process %d: %w", pid, err)
		}
		h.halts[pid] = &halt{until: time.Now().Add(h.limit)}
		if err := unix.PtraceInterrupt(pid); err != nil {
			return fmt.Errorf("halt process %d: %w", pid, err) // it is ending: look notices
		}
		return nil
	})
}

// Release resumes a process; it does nothing if the process is not halted.
func (h *Halter) Release(pid int) {
	_ = h.call(func() error {
		if halt := h.halts[pid]; halt != nil {
			halt.released = true
			h.step(pid, halt)
		}
		return nil
	})
}

// Halted reports whether a process is stopped, or about to be: since Halt it has
// run no instruction in user space.
func (h *Halter) Halted(pid int) bool {
	is := false
	_ = h.call(func() error {
		halt := h.halts[pid]
		is = halt != nil && !halt.released && time.Now().Before(halt.until)
		return nil
	})
	return is
}

func (h *Halter) call(f func() error) error {
	result := make(chan error, 1)
	select {
	case h.calls <- func() { result <- f() }:
		return <-result
	case <-h.done:
		return ErrClosed
	}
}

// Close resumes every program, and returns when they run.
func (h *Halter) Close() {
	h.once.Do(func() { close(h.done) })
	<-h.over
}

func (h *Halter) look() {
	for pid, halt := range h.halts {
		h.step(pid, halt)
	}
}

// step resumes a process once it has stopped and may resume. It also reaps one
// that has ended: until then its parent would not learn of it.
func (h *Halter) step(pid int, halt *halt) {
	if !halt.released && time.Now().Before(halt.until) {
		return
	}
	var ws unix.WaitStatus
	got, err := unix.Wait4(pid, &ws, unix.WALL|unix.WNOHANG, nil)
	switch {
	case errors.Is(err, unix.EINTR), got == 0 && err == nil:
		return // not stopped yet
	case err != nil, !ws.Stopped():
		delete(h.halts, pid) // it has ended
		return
	}
	signal := 0
	if ws>>16 == 0 { // not a stop of ours
		signal = int(ws.StopSignal()) // one that was on its way
	}
	_ = ptraceDetach(pid, signal)
	delete(h.halts, pid)
}

// ptraceDetach detaches and passes a signal on, 0 for none.
func ptraceDetach(pid, signal int) error {
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_DETACH, uintptr(pid), 0, uintptr(signal), 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
