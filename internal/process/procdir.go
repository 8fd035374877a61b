// SPDX-License-Identifier: Apache-2.0

package process

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// maxSmallFile bounds /proc files that are a page or so in length (stat,
// status, comm). A status line grows with the supplementary groups (65536 of
// them at most, NGROUPS_MAX).
const maxSmallFile = 1 << 20

// procDir is an open /proc/PID directory. Look-ups through it fail once that
// very process has been reaped, whatever process has its PID by then. Safe for
// concurrent use, close included.
type procDir struct {
	mu sync.RWMutex
	fd int // -1 once closed
}

func procPath(pid int) string { return "/proc/" + strconv.Itoa(pid) }

func openProcDir(pid int) (*procDir, error) {
	fd, err := unix.Open(procPath(pid), unix.O_DIRECTORY|unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("open "+procPath(pid), err)
	}
	return &procDir{fd: fd}, nil
}

func (d *procDir) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fd >= 0 {
		unix.Close(d.fd)
		d.fd = -1
	}
}

// open opens a file below the directory; flags are added to O_CLOEXEC.
func (d *procDir) open(name string, flags int) (*os.File, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.fd < 0 {
		return nil, ErrClosed
	}
	for {
		fd, err := unix.Openat(d.fd, name, flags|unix.O_CLOEXEC, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, &os.PathError{Op: "open", Path: name, Err: err}
		}
		return os.NewFile(uintptr(fd), name), nil
	}
}

// read returns at most limit bytes of a file; cut tells that there was more.
func (d *procDir) read(name string, limit int64) (data []byte, cut bool, err error) {
	f, err := d.open(name, unix.O_RDONLY)
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	var b bytes.Buffer
	n, err := io.Copy(&b, io.LimitReader(f, limit+1))
	if err != nil {
		return nil, false, err
	}
	if n > limit {
		return b.Bytes()[:limit], true, nil
	}
	return b.Bytes(), false, nil
}

// readSmall reads one of the short files.
func (d *procDir) readSmall(name string) ([]byte, error) {
	data, cut, err := d.read(name, maxSmallFile)
	if err == nil && cut {
		err = fmt.Errorf("read %s: longer than %d bytes: %w", name, maxSmallFile, ErrTruncated)
	}
	return data, err
}

// readlink returns a link's text.
func (d *procDir) readlink(name string) (string, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.fd < 0 {
		return "", ErrClosed
	}
	// The kernel builds these texts in one page (d_path).
	buf := make([]byte, 1<<16)
	n, err := unix.Readlinkat(d.fd, name, buf)
	if err != nil {
		return "", &os.PathError{Op: "readlink", Path: name, Err: err}
	}
	return string(buf[:n]), nil
}

// stat follows links.
func (d *procDir) stat(name string) (unix.Stat_t, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	var st unix.Stat_t
	if d.fd < 0 {
		return st, ErrClosed
	}
	if err := unix.Fstatat(d.fd, name, &st, 0); err != nil {
		return st, &os.PathError{Op: "stat", Path: name, Err: err}
	}
	return st, nil
}

// numbers lists the entries of a directory that are positive numbers.
func (d *procDir) numbers(name string) ([]int, error) {
	f, err := d.open(name, unix.O_DIRECTORY|unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	ids := make([]int, 0, len(names))
	for _, n := range names {
		if id, err := strconv.Atoi(n); err == nil && id > 0 {
			ids = append(ids, id)
		}
	}
	return ids, nil
}
