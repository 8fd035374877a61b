// SPDX-License-Identifier: Apache-2.0

package lease

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Why a lease cannot be had.
var (
	ErrWriter      = errors.New("it is open for writing")
	ErrUnsupported = errors.New("its file system cannot keep it from being written to")
	ErrPermission  = errors.New("keeping another user's file from being written to needs CAP_LEASE")
)

// errReleased says that a keeper is closed.
var errReleased = errors.New("nothing is kept any more")

// Keeper holds leases. Safe for concurrent use. The caller must Close it.
type Keeper struct {
	mu     sync.Mutex
	leases map[*Lease]bool // nil once closed
	io     chan os.Signal
	done   chan struct{}
	wait   sync.WaitGroup
}

// Lease is held on one file.
type Lease struct {
	keeper *Keeper
	file   *os.File
	broken func()
}

// lookInterval is how often leases are looked at when no signal tells of one: a
// signal may be lost.
const lookInterval = time.Second

// NewKeeper returns a keeper that holds nothing yet.
func NewKeeper() *Keeper {
	// Of one: a signal that is pending tells of all leases.
	k := &Keeper{leases: make(map[*Lease]bool), io: make(chan os.Signal, 1), done: make(chan struct{})}
	signal.Notify(k.io, unix.SIGIO)
	k.wait.Go(k.run)
	return k
}

// Take takes a lease on an open file, which must be open for reading only and
// stay so until Release. Until then its contents do not change, unless Release
// comes too late. broken is called once, on a goroutine of its own, when somebody
// waits to write.
func (k *Keeper) Take(f *os.File, broken func()) (*Lease, error) {
	if err := trusted(f); err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.leases == nil {
		return nil, errReleased
	}
	// The owner comes first: the kernel's own choice may be a thread that ends.
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETOWN, os.Getpid()); err != nil {
		return nil, fmt.Errorf("be told of who writes to %s: %w", f.Name(), err)
	}
	if err := set(f, unix.F_RDLCK); err != nil {
		return nil, err
	}
	l := &Lease{keeper: k, file: f, broken: broken}
	k.leases[l] = true
	return l, nil
}

// Free reports whether nobody has an open file open for writing just now, with
// nil, or why that is not known.
func Free(f *os.File) error {
	if err := trusted(f); err != nil {
		return err
	}
	if err := set(f, unix.F_RDLCK); err != nil {
		return err
	}
	return set(f, unix.F_UNLCK)
}

// File is the file that the lease is on.
func (l *Lease) File() *os.File { return l.file }

// Release gives the lease back: writers go on. Releasing twice does nothing.
func (l *Lease) Release() {
	k := l.keeper
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.leases[l] {
		k.drop(l)
	}
}

// drop gives a lease back. The keeper is locked.
func (k *Keeper) drop(l *Lease) {
	delete(k.leases, l)
	_ = set(l.file, unix.F_UNLCK) // at worst it ends when the file is closed
}

// Close gives every lease back.
func (k *Keeper) Close() {
	k.mu.Lock()
	for l := range k.leases {
		k.drop(l)
	}
	open := k.leases != nil
	k.leases = nil
	k.mu.Unlock()
	if open {
		signal.Stop(k.io)
		close(k.done)
	}
	k.wait.Wait()
}

// BreakTime is how long the kernel makes writers wait before it takes a lease away;
// 0: for ever, or it cannot be told.
func BreakTime() time.Duration {
	text, err := os.ReadFile("/proc/sys/fs/lease-break-time")
	if err != nil {
		return 0
	}
	seconds, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || seconds < 0 {
		return 0
	}
	return time.Duration(seconds) * time.Second
}

// run finds out for whom writers wait.
func (k *Keeper) run() {
	ticker := time.NewTicker(lookInterval)
	defer ticker.Stop()
	for {
		select {
		case <-k.done:
			return
		case <-k.io:
		case <-ticker.C:
		}
		k.look()
	}
}

// look tells of the leases that are to be given back.
func (k *Keeper) look() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for l := range k.leases {
		if l.broken == nil {
			continue
		}
		// The kernel says what the lease will become (fcntl_getlease, fs/locks.c).
		now, err := unix.FcntlInt(l.file.Fd(), unix.F_GETLEASE, 0)
		if err == nil && now == unix.F_RDLCK {
			continue
		}
		go l.broken()
		l.broken = nil
	}
}

// set asks the kernel for a lease, or gives one back.
func set(f *os.File, kind int) error {
	_, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, kind)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EAGAIN):
		return busy(f)
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return ErrPermission
	}
	return fmt.Errorf("%w: %w", ErrUnsupported, err)
}
