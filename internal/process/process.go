// SPDX-License-Identifier: Apache-2.0

package process

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// MaxCmdline is how many bytes of a command line are read; the rest is left out.
const MaxCmdline = 64 << 10

// ID names one process for good: PIDs are reused, but not within the same clock
// tick of the same boot.
type ID struct {
	PID       int    // as our PID namespace numbers it
	StartTime uint64 // clock ticks since boot, field 22 of /proc/PID/stat; kept over exec
}

func (id ID) String() string { return fmt.Sprintf("%d@%d", id.PID, id.StartTime) }

// Process is a handle on one process. The exported fields are as they were at
// [Open] or the last [Process.Refresh]; the methods look anew. Methods are safe
// for concurrent use, except that Refresh writes the fields. The caller owns
// the handle and must Close it; it holds two file descriptors.
type Process struct {
	PID       int      // as our PID namespace numbers it
	NSPIDs    []int    // its PID in each namespace from ours inwards; the last is its own view
	StartTime uint64   // clock ticks since boot
	Parent    int      // PID of the parent; 0 when that is outside our PID namespace
	Comm      string   // name of the main thread, at most 15 bytes, any bytes
	Exe       string   // path of the executable as the target names it, without " (deleted)"
	Cmdline   []string // cut at MaxCmdline bytes; the program can overwrite it
	UID       int      // effective user id, as our user namespace numbers it
	Threads   int      // at the time of the look

	title string

	dir   *procDir
	pidfd *os.File

	done    chan struct{} // closed when the process has ended
	closing chan struct{} // closed by Close
	closed  sync.Once
	waiter  sync.WaitGroup
}

// Open takes a handle on a running process. Errors: [ErrNoProcess], [ErrZombie],
// [ErrKernelThread], [*ThreadError] for the id of a thread that is not the main
// one, and [*PermissionError] when its memory map is not ours to read.
func Open(pid int) (*Process, error) {
	p, err := open(pid)
	var denied *PermissionError
	var thread *ThreadError
	if errors.As(err, &denied) || errors.As(err, &thread) {
		return nil, err // these already name the process
	}
	if err != nil {
		return nil, fmt.Errorf("process %d: %w", pid, err)
	}
	return p, nil
}

func open(pid int) (*Process, error) {
	if pid <= 0 || pid > math.MaxInt32 { // the kernel would take what is left of it
		return nil, ErrNoProcess
	}
	dir, err := openProcDir(pid)
	if err != nil {
		return nil, hiddenOrGone(pid, err)
	}
	p := &Process{PID: pid, dir: dir, done: make(chan struct{}), closing: make(chan struct{})}
	if err := p.start(); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// start fills a new handle and proves that we may look at the process.
func (p *Process) start() error {
	st, err := p.stat("stat")
	if err != nil {
		return err
	}
	if st.Kernel {
		return ErrKernelThread
	}
	status, err := p.status("status")
	if err != nil {
		return err
	}
	if status.Process != p.PID {
		return &ThreadError{TID: p.PID, PID: status.Process}
	}
	p.StartTime = st.StartTime
	if err := p.openPidfd(); err != nil {
		return err
	}
	// Still there through the directory: the PID was not reused before the
	// pidfd was taken, so both name the same process.
	if err := p.Refresh(); err != nil {
		return err
	}
	f, err := p.openMemory("maps")
	if err != nil {
		return err
	}
	return f.Close()
}

// hiddenOrGone distinguishes a process that does not exist from one hidden by a
// /proc mounted with hidepid.
func hiddenOrGone(pid int, err error) error {
	if !isGone(err) && !isPermission(err) {
		return err
	}
	if kill := unix.Kill(pid, 0); kill == nil || kill == unix.EPERM {
		return permission(pid, "look at /proc", -1, "CAP_SYS_PTRACE", unix.EPERM)
	}
	return ErrNoProcess
}

func permission(pid int, op string, owner int, capability string, err error) *PermissionError {
	return &PermissionError{PID: pid, Op: op, Owner: owner, Capability: capability, Held: holds(capability), Err: err}
}

// ID returns what names this process for good.
func (p *Process) ID() ID { return ID{PID: p.PID, StartTime: p.StartTime} }

// Refresh reads the fields again: a program's name, executable and command
// line change with exec. Not safe at the same time as reads of the fields.
func (p *Process) Refresh() error {
	st, err := p.stat("stat")
	if err != nil {
		return err
	}
	if st.ended() && st.Threads <= 1 {
		return ErrZombie
	}
	status, err := p.status("status")
	if err != nil {
		return err
	}
	p.Comm, p.Parent, p.Threads = st.Comm, st.Parent, st.Threads
	p.UID, p.NSPIDs = status.UID, status.NSPIDs
	if len(p.NSPIDs) == 0 {
		p.NSPIDs = []int{p.PID}
	}
	exe, _, err := p.exe()
	if err != nil {
		return err
	}
	p.Exe = exe
	p.Cmdline, err = p.cmdline()
	return err
}

func (p *Process) cmdline() ([]string, error) {
	prefix, err := p.memoryDir()
	if err != nil {
		return nil, err
	}
	data, _, err := p.dir.read(prefix+"cmdline", MaxCmdline)
	if err != nil {
		return nil, p.fail("read the command line", err)
	}
	p.title = titleOf(data, p.Comm, p.Exe)
	data = bytes.TrimSuffix(data, []byte{0})
	if len(data) == 0 {
		return nil, nil
	}
	var args []string
	for arg := range bytes.SplitSeq(data, []byte{0}) {
		args = append(args, string(arg))
	}
	return args, nil
}

// Alive returns nil while the process runs, else ErrNoProcess or ErrZombie.
func (p *Process) Alive() error {
	st, err := p.stat("stat")
	if err == nil && st.ended() && st.Threads <= 1 {
		return ErrZombie
	}
	return err
}

func (p *Process) stat(name string) (stat, error) {
	data, err := p.dir.readSmall(name)
	if err != nil {
		return stat{}, p.fail("read the state", err)
	}
	return parseStat(data)
}

func (p *Process) status(name string) (status, error) {
	data, err := p.dir.readSmall(name)
	if err != nil {
		return status{}, p.fail("read the status", err)
	}
	return parseStatus(data)
}

// fail turns the error of a /proc access into one of this package's.
func (p *Process) fail(op string, err error) error {
	switch {
	case isGone(err):
		return ErrNoProcess
	case isPermission(err):
		return permission(p.PID, op, p.owner(), "CAP_SYS_PTRACE", rootCause(err))
	case errors.Is(err, ErrClosed):
		return ErrClosed
	}
	return fmt.Errorf("%s: %w", op, err)
}

func (p *Process) owner() int {
	if data, err := p.dir.readSmall("status"); err == nil {
		if s, err := parseStatus(data); err == nil {
			return s.UID
		}
	}
	return -1
}

func rootCause(err error) error {
	var errno unix.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}

// memoryDir returns "" or "task/TID/": where to read what belongs to the
// process's memory. A main thread that has ended while others run shows none.
func (p *Process) memoryDir() (string, error) {
	st, err := p.stat("stat")
	if err != nil {
		return "", err
	}
	if !st.ended() {
		return "", nil
	}
	tids, err := p.dir.numbers("task")
	if err != nil {
		return "", p.fail("list the threads", err)
	}
	for _, tid := range tids {
		prefix := "task/" + strconv.Itoa(tid) + "/"
		if tid == p.PID {
			continue
		}
		if st, err := p.stat(prefix + "stat"); err == nil && !st.ended() {
			return prefix, nil
		}
	}
	return "", ErrZombie
}

// openMemory opens a file that belongs to the process's memory.
func (p *Process) openMemory(name string) (*os.File, error) {
	prefix, err := p.memoryDir()
	if err != nil {
		return nil, err
	}
	f, err := p.dir.open(prefix+name, unix.O_RDONLY)
	if err != nil {
		return nil, p.fail(memoryOps[name], err)
	}
	return f, nil
}

var memoryOps = map[string]string{
	"maps":    "read the memory map",
	"environ": "read the environment",
	"auxv":    "read the auxiliary vector",
	"mem":     "read the memory",
}

// Close releases the handle. It never fails, may be called more than once, and
// ends calls of Wait with ErrClosed.
func (p *Process) Close() error {
	p.closed.Do(func() {
		close(p.closing)
		if p.pidfd != nil {
			p.pidfd.Close()
		}
		p.waiter.Wait()
		p.dir.close()
	})
	return nil
}

// Gone reports whether no process of that id and start time is there; a start
// time of 0 stands for any. A zombie is gone. What cannot be read is not.
func Gone(pid int, started uint64) bool {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return isGone(err) && unix.Kill(pid, 0) == unix.ESRCH
	}
	st, err := parseStat(data)
	return err == nil && (st.ended() && st.Threads <= 1 || started != 0 && st.StartTime != started)
}
