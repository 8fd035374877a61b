// SPDX-License-Identifier: Apache-2.0

package lease

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/phasetrace/phasetrace/internal/await"
)

// Watcher tells of files that have been written to, for want of leases: it comes
// too late to keep anything from happening, and knows only of writers on this
// machine. Safe for concurrent use. The caller must Close it.
type Watcher struct {
	in   *os.File
	fd   int // the same
	mu   sync.Mutex
	told map[int32]func()
	wait sync.WaitGroup
}

// written is what tells of a writer: each write, and the end of one that wrote
// through its memory.
const written = unix.IN_MODIFY | unix.IN_CLOSE_WRITE

// NewWatcher returns a watcher that watches nothing yet.
func NewWatcher() (*Watcher, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watch files: %w: see /proc/sys/fs/inotify/max_user_instances", err)
	}
	w := &Watcher{in: os.NewFile(uintptr(fd), "inotify"), fd: fd, told: make(map[int32]func())}
	w.wait.Go(w.run)
	return w, nil
}

// Watch calls changed once, on a goroutine of its own, when an open file has been
// written to. stop ends the watch.
func (w *Watcher) Watch(f *os.File, changed func()) (stop func(), err error) {
	// Under the lock, so that no event comes before it is known whose it is.
	w.mu.Lock()
	defer w.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), answerTime)
	defer cancel()
	path := fmt.Sprintf("/proc/self/fd/%d", f.Fd())
	wd, err := await.Do(ctx, func(context.Context) (int32, error) {
		wd, err := unix.InotifyAddWatch(w.fd, path, written)
		return int32(wd), err
	}, nil)
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", f.Name(), err)
	}
	w.told[wd] = changed
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if _, ok := w.told[wd]; ok {
			w.end(wd)
		}
	}, nil
}

// end ends a watch. The watcher is locked.
func (w *Watcher) end(wd int32) {
	delete(w.told, wd)
	_, _ = unix.InotifyRmWatch(w.fd, uint32(wd))
}

// Close ends every watch.
func (w *Watcher) Close() {
	w.in.Close()
	w.wait.Wait()
}

func (w *Watcher) run() {
	buf := make([]byte, 16<<10)
	for {
		n, err := w.in.Read(buf)
		if err != nil {
			return
		}
		w.take(buf[:n])
	}
}

// take handles what the kernel has told: struct inotify_event, again and again.
func (w *Watcher) take(events []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for in := bytes.NewReader(events); ; {
		var ev unix.InotifyEvent
		if binary.Read(in, binary.NativeEndian, &ev) != nil {
			return
		}
		_, _ = in.Seek(int64(ev.Len), 1)
		if ev.Mask&unix.IN_Q_OVERFLOW != 0 { // any of them
			for wd := range w.told {
				w.tell(wd)
			}
			continue
		}
		if ev.Mask&written != 0 {
			w.tell(ev.Wd)
		}
	}
}

func (w *Watcher) tell(wd int32) {
	if changed := w.told[wd]; changed != nil {
		w.end(wd)
		go changed()
	}
}
