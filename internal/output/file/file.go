// SPDX-License-Identifier: Apache-2.0

// Package file opens what a session is written to: standard output or a file.
// It knows users and files, not formats or records.
//
// phasetrace often runs as root in somebody else's name, so files are created
// private, are given to the invoking user, and are never written through a name
// that another user could have planted.
package file

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Stdout is the path that stands for standard output.
const Stdout = "-"

// File is an open output.
type File struct {
	file    *os.File
	name    string
	stdout  bool
	created bool // by Create
	emptied bool // of what it held before
}

// Create opens a path for writing from its beginning; "-" is standard output.
//
// A new file gets mode 0600 and, under sudo, belongs to the invoking user. An
// existing one keeps mode and owner; it loses its contents with the first Write
// or at Close, and keeps them when the output is abandoned before. In a directory
// that everybody can write to, a symbolic link or a file of another user is
// refused.
func Create(path string) (*File, error) {
	if path == Stdout {
		return &File{file: os.Stdout, name: "standard output", stdout: true}, nil
	}
	_, before := os.Lstat(path)
	f, err := open(path, invoker(os.Geteuid(), os.Getenv))
	if err != nil {
		return nil, fmt.Errorf("create output file: %w: %s", err, advice(err))
	}
	return &File{file: f, name: path, created: errors.Is(before, fs.ErrNotExist)}, nil
}

// Write writes to the file, which loses what it held before.
func (f *File) Write(b []byte) (int, error) {
	if err := f.empty(); err != nil {
		return 0, err
	}
	return f.file.Write(b)
}

// empty drops the contents from before, once. What is no regular file has none.
func (f *File) empty() error {
	if f.stdout || f.emptied {
		return nil
	}
	f.emptied = true
	if info, err := f.file.Stat(); err != nil || !info.Mode().IsRegular() {
		return err
	}
	return f.file.Truncate(0)
}

// Abandon closes an output that nothing was written to, and leaves everything
// as it was before Create.
func (f *File) Abandon() error {
	if f.stdout {
		return nil
	}
	if f.created && !f.emptied {
		if err := os.Remove(f.name); err != nil {
			return errors.Join(fmt.Errorf("remove the empty output file: %w", err), f.file.Close())
		}
	}
	return f.file.Close()
}

// Name is the path, or "standard output".
func (f *File) Name() string { return f.name }

// IsTerminal reports whether somebody may be looking.
func (f *File) IsTerminal() bool { return IsTerminal(f.file) }

// Close closes the file; standard output stays open. Its error says that the
// contents may be incomplete.
func (f *File) Close() error {
	if f.stdout {
		return nil
	}
	if err := errors.Join(f.empty(), f.file.Close()); err != nil {
		return fmt.Errorf("close %s: %w: its end may be missing; write elsewhere with --output", f.name, err)
	}
	return nil
}

// IsTerminal reports whether a file is a terminal.
func IsTerminal(f *os.File) bool {
	conn, err := f.SyscallConn()
	if err != nil {
		return false
	}
	terminal := false
	err = conn.Control(func(fd uintptr) {
		_, err := unix.IoctlGetTermios(int(fd), unix.TCGETS)
		terminal = err == nil
	})
	return err == nil && terminal
}

// user is who the output belongs to.
type user struct {
	euid int // of this process
	// uid and gid are the user's who called sudo; without sudo uid is euid and
	// give is false.
	uid, gid int
	give     bool
}

// invoker finds out who to create files for. getenv is os.Getenv.
func invoker(euid int, getenv func(string) string) user {
	u := user{euid: euid, uid: euid, gid: -1}
	if euid != 0 {
		return u
	}
	uid, err := strconv.ParseUint(getenv("SUDO_UID"), 10, 31)
	if err != nil {
		return u
	}
	u.uid, u.give = int(uid), true
	if gid, err := strconv.ParseUint(getenv("SUDO_GID"), 10, 31); err == nil {
		u.gid = int(gid)
	}
	return u
}

// owns reports whether a file of that owner can be trusted.
func (u user) owns(uid uint32) bool {
	return int64(uid) == int64(u.euid) || int64(uid) == int64(u.uid) || uid == 0
}

var (
	errForeignLink = errors.New("is a symbolic link in a directory that everybody can write to")
	errForeignFile = errors.New("belongs to another user, in a directory that everybody can write to")
)

// open creates the file or opens the one that exists.
func open(path string, u user) (*os.File, error) {
	const flags = unix.O_WRONLY | unix.O_NOFOLLOW
	f, err := os.OpenFile(path, flags|unix.O_CREAT|unix.O_EXCL, 0o600)
	if err == nil {
		return own(f, u)
	}
	if !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	public, err := publicDirectory(path)
	if err != nil {
		return nil, err
	}
	if info, err := os.Lstat(path); err == nil && public && info.Mode()&fs.ModeSymlink == 0 {
		// Before it is opened: to open another user's pipe is to wait for them.
		if st, ok := info.Sys().(*syscall.Stat_t); ok && !u.owns(st.Uid) {
			return nil, &fs.PathError{Op: "open", Path: path, Err: errForeignFile}
		}
	}
	f, err = os.OpenFile(path, flags, 0)
	if errors.Is(err, unix.ELOOP) {
		return follow(path, u, public)
	}
	if err != nil {
		return nil, err
	}
	return reuse(f, u, public)
}

// own gives a new file to the invoking user.
func own(f *os.File, u user) (*os.File, error) {
	// The umask can only have taken permissions away.
	err := f.Chmod(0o600)
	if err == nil && u.give {
		err = f.Chown(u.uid, u.gid)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// follow opens what a symbolic link points to, creating it if need be. In a
// directory that everybody can write to, the link could change between a look
// at it and its use, so it is not followed at all, whoever owns it.
func follow(path string, u user, public bool) (*os.File, error) {
	if public {
		return nil, &fs.PathError{Op: "open", Path: path, Err: errForeignLink}
	}
	target, err := os.Readlink(path)
	if err != nil {
		return nil, err
	}
	if !filepath.IsAbs(target) {
		target = filepath.Join(filepath.Dir(path), target)
	}
	if f, err := os.OpenFile(target, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW, 0o600); err == nil {
		return own(f, u)
	}
	// Not filepath.EvalSymlinks: links of /proc/self/fd lead to no path.
	f, err := os.OpenFile(path, unix.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	public, err = publicDirectory(target)
	return reuse(f, u, public && err == nil)
}

// reuse checks a file that existed.
func reuse(f *os.File, u user, public bool) (*os.File, error) {
	var st unix.Stat_t
	err := unix.Fstat(int(f.Fd()), &st)
	switch {
	case err != nil:
	case public && !u.owns(st.Uid):
		err = &fs.PathError{Op: "open", Path: f.Name(), Err: errForeignFile}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// publicDirectory reports whether everybody can write to the directory that
// holds path.
func publicDirectory(path string) (bool, error) {
	info, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return false, err
	}
	return info.Mode().Perm()&0o002 != 0, nil
}

// advice says what the user can do about a path that does not open.
func advice(err error) string {
	switch {
	case errors.Is(err, errForeignLink), errors.Is(err, errForeignFile):
		return "name a file in a directory of your own"
	case errors.Is(err, fs.ErrNotExist):
		return "create the directory first"
	case errors.Is(err, fs.ErrPermission):
		return "name a file in a directory that you may write to"
	case errors.Is(err, unix.EISDIR):
		return "name a file in it"
	case errors.Is(err, unix.ENOTDIR):
		return "one part of the path is a file: name a directory there"
	case errors.Is(err, unix.EROFS), errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return "write to another file system"
	case errors.Is(err, unix.ENAMETOOLONG):
		return "choose a shorter name"
	}
	return "choose another file with --output"
}
