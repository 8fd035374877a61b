// SPDX-License-Identifier: Apache-2.0

package file

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// maxLinks is how many symbolic links a path may have, as for the kernel
// (MAXSYMLINKS, include/linux/namei.h).
const maxLinks = 40

// directory is a directory on the way, held open: look-ups happen in it, whatever
// becomes of its name.
type directory struct {
	fd   int // O_PATH
	path string
	st   unix.Stat_t
	// planted: others can put names into this directory. moved: they can also
	// replace it, or directories in it, so nothing below it can be trusted
	// either. nil: only trusted users can.
	planted, moved *exposure
}

// walk is the way to a file, one name after the other. No link that somebody else
// could have planted is followed.
type walk struct {
	user
	dir   *directory
	links int // followed so far
	// lent is the first link that lay in a directory of an invoking user who has
	// fewer rights than this process; "" if none did.
	lent string
}

// enter takes over a directory's descriptor. moved is as known for the path so
// far.
func (u user) enter(fd int, path string, moved *exposure) (*directory, error) {
	d := &directory{fd: fd, path: path, planted: moved, moved: moved}
	if err := unix.Fstat(fd, &d.st); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	if own := u.exposed(path, &d.st); own != nil && moved == nil {
		d.planted = own
		// In a directory of a trusted user, with the sticky bit, others can add
		// names, but not replace those that exist.
		if !u.trusts(d.st.Uid) || d.st.Mode&unix.S_ISVTX == 0 {
			d.moved = own
		}
	}
	return d, nil
}

func (d *directory) close() { _ = unix.Close(d.fd) }

// join is the path of a name in the directory, for messages.
func (d *directory) join(name string) string { return filepath.Join(d.path, name) }

// to continues from another directory.
func (w *walk) to(d *directory, err error) error {
	if err != nil {
		return err
	}
	if w.dir != nil {
		w.dir.close()
	}
	w.dir = d
	return nil
}

// start goes to where a path, or the target of a link, starts.
func (w *walk) start(path string) error {
	switch {
	case strings.HasPrefix(path, "/"):
		return w.root()
	case w.dir == nil:
		return w.working()
	}
	return nil // a link's target starts where the link is
}

// root continues from the root directory.
func (w *walk) root() error {
	fd, err := openat(unix.AT_FDCWD, "/", unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	return w.to(w.enter(fd, "/", nil))
}

// working starts in the working directory. The directories above it are on the
// way as well: nothing in somebody else's file system can be trusted.
func (w *walk) working() error {
	fd, err := openat(unix.AT_FDCWD, ".", unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	name, err := os.Getwd()
	if err != nil {
		name = "."
	}
	d, err := w.enter(fd, name, w.above(fd, name))
	return w.to(d, err)
}

// above tells how others could move a directory or one above it; nil if they
// cannot.
func (u user) above(fd int, name string) *exposure {
	var below unix.Stat_t
	if err := unix.Fstat(fd, &below); err != nil {
		return &exposure{name, "cannot be looked at"}
	}
	at, err := openat(fd, "..", unix.O_PATH|unix.O_DIRECTORY, 0)
	for err == nil {
		name = filepath.Dir(name)
		var d *directory
		if d, err = u.enter(at, name, nil); err != nil {
			break
		}
		if d.moved != nil || sameFile(&d.st, &below) { // the root is its own parent
			d.close()
			return d.moved
		}
		below = d.st
		at, err = openat(d.fd, "..", unix.O_PATH|unix.O_DIRECTORY, 0)
		d.close()
	}
	return &exposure{name, "cannot be looked at"}
}

// step enters the next directory of a path. If that is a link, it returns the
// target instead.
func (w *walk) step(name string) (target string, err error) {
	fd, err := openat(w.dir.fd, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err == nil {
		return "", w.to(w.enter(fd, w.dir.join(name), w.dir.moved))
	}
	if !errors.Is(err, unix.ENOTDIR) && !errors.Is(err, unix.ELOOP) {
		return "", err
	}
	fd, st, err := w.look(name)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		return "", unix.ENOTDIR
	}
	return w.follow(fd, name)
}

// look opens a name of the directory, not to read or write, but to hold whatever
// it names now; a link stands for itself.
func (w *walk) look(name string) (fd int, st unix.Stat_t, err error) {
	fd, err = openat(w.dir.fd, name, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		return -1, st, err
	}
	if err = unix.Fstat(fd, &st); err != nil {
		_ = unix.Close(fd)
		return -1, st, err
	}
	return fd, st, nil
}

// follow returns the target of a link in the directory. Who owns the link does
// not matter: nobody can change it, and only those who can write to the directory
// can have put it there.
func (w *walk) follow(fd int, name string) (target string, err error) {
	link := w.dir.join(name)
	switch {
	case w.dir.planted != nil:
		return "", &refusal{link, errForeignLink, w.dir.planted}
	case w.dir.magic():
		return "", &refusal{link, errKernelLink, nil}
	case w.links == maxLinks:
		return "", unix.ELOOP
	}
	w.links++
	if w.lent == "" && w.lends(w.dir.st.Uid) {
		w.lent = link
	}
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", buf)
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

// magic reports whether links in the directory lead to open files, which have no
// path: that is so in /proc, except in its root.
func (d *directory) magic() bool {
	const procRoot = 1 // PROC_ROOT_INO, include/linux/proc_ns.h
	var st unix.Statfs_t
	return unix.Fstatfs(d.fd, &st) == nil && st.Type == unix.PROC_SUPER_MAGIC && d.st.Ino != procRoot
}

func sameFile(a, b *unix.Stat_t) bool { return a.Dev == b.Dev && a.Ino == b.Ino }

// openat is openat(2), repeated when interrupted.
func openat(dir int, name string, flags int, mode uint32) (int, error) {
	for {
		fd, err := unix.Openat(dir, name, flags|unix.O_CLOEXEC, mode)
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}
