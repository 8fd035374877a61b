// SPDX-License-Identifier: Apache-2.0

package apart

import (
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// Worker is the way from a worker to its front.
type Worker struct {
	orders, status int
	asked, told    chan os.Signal
	settle         atomic.Pointer[func()]
}

// Inside returns the worker that this process is, nil for none. It is to be called
// once, before the program starts others: they are no workers.
func Inside() *Worker {
	text, ok := os.LookupEnv(workerVar)
	if !ok {
		return nil
	}
	os.Unsetenv(workerVar)
	w := &Worker{asked: make(chan os.Signal, 1), told: make(chan os.Signal, 1)}
	if _, err := fmt.Sscanf(text, "%d,%d", &w.orders, &w.status); err != nil || !isPipe(w.orders) || !isPipe(w.status) {
		return nil // somebody else's variable
	}
	unix.CloseOnExec(w.orders)
	unix.CloseOnExec(w.status)
	// Else it is called exe, as the file it was started by. It is only a name.
	_ = os.WriteFile("/proc/self/comm", []byte(filepath.Base(os.Args[0])), 0)
	go w.listen()
	return w
}

func isPipe(fd int) bool {
	var st unix.Stat_t
	return fd > 2 && unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFIFO
}

// listen takes orders. Without a front nobody wants the work.
func (w *Worker) listen() {
	var b [1]byte
	for {
		switch n, err := unix.Read(w.orders, b[:]); {
		case err == unix.EINTR:
		case n <= 0:
			letGo()
			if settle := w.settle.Load(); settle != nil {
				(*settle)()
			}
			_ = unix.Kill(unix.Getpid(), unix.SIGKILL)
			return
		case b[0]&tellBit != 0:
			select {
			case w.told <- syscall.Signal(b[0] &^ tellBit):
			default: // it has not acted on the last one yet
			}
		default:
			w.asked <- syscall.Signal(b[0])
		}
	}
}

// Settle sets what the worker must wait for before it may end: what would be left
// half done. It may be called from any goroutine.
func (w *Worker) Settle(f func()) { w.settle.Store(&f) }

// Asked delivers the signal that asks the worker to end.
func (w *Worker) Asked() <-chan os.Signal { return w.asked }

// Told delivers the signals of Front.Tell.
func (w *Worker) Told() <-chan os.Signal { return w.told }

// End lets go of the standard streams, tells the front the status, and waits for
// what Settle has set. The process must do nothing after it but end.
func (w *Worker) End(status int) {
	letGo()
	_, _ = unix.Write(w.status, []byte{byte(status)}) // the front may have been killed
	if settle := w.settle.Load(); settle != nil {
		(*settle)()
	}
}

// letGo replaces the standard streams, whose readers wait for their end: a thread
// that cannot end keeps every descriptor of the process open.
func letGo() {
	null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err == nil {
		for fd := range 3 {
			_ = unix.Dup3(null, fd, 0)
		}
	}
}
