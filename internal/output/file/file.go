// SPDX-License-Identifier: Apache-2.0

// Package file opens what a session is written to: standard output or a file.
// It knows users and files, not formats or records.
//
// phasetrace often runs as root on behalf of somebody else, so files are created
// private, belong to the invoking user, and are never written or removed through
// a name that another user could have planted.
package file

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Stdout is the path that stands for standard output.
const Stdout = "-"

// File is an open output.
type File struct {
	file    *os.File
	name    string
	stdout  bool
	made    *made // nil if it was there before
	emptied bool  // of its old contents, or never to be
}

// Create opens a path for writing from its beginning; "-" is standard output, and
// names such as /dev/stdout and /dev/fd/3 are this process's open files,
// continued at their position. For a pipe, Create waits for its reader until ctx
// ends, and tells the user so through say.
//
// A new file gets mode 0600 and, under sudo, belongs to the invoking user. An
// existing one keeps mode and owner; it loses its contents with the first Write
// or at Close, but not if the output is abandoned before that.
//
// Create never follows a name that another user could have planted. In and below
// a directory that belongs to a user other than root and the invoking one, or
// that others can write to, it follows no link, and writes to a file only if it
// belongs to one of these two users and has no other name. If such a directory
// has the sticky bit, the two users' own directories in it are exempt.
func Create(ctx context.Context, path string, say func(string)) (*File, error) {
	if path == Stdout {
		return &File{file: os.Stdout, name: "standard output", stdout: true}, nil
	}
	for tries := 0; ; tries++ {
		f, err := openOnce(ctx, path, say)
		if errors.Is(err, errAppeared) && tries < 10 {
			continue // somebody created it after the look: look again
		}
		return f, advised("create output file", err)
	}
}

func openOnce(ctx context.Context, path string, say func(string)) (*File, error) {
	p, err := find(path, invoker(os.Geteuid(), os.Getenv))
	if err != nil {
		return nil, err
	}
	defer p.close()
	return p.open(ctx, say)
}

// Write writes to the file, which loses its old contents.
func (f *File) Write(b []byte) (int, error) {
	if err := f.empty(); err != nil {
		return 0, err
	}
	return f.file.Write(b)
}

// empty drops the old contents, once. Only regular files have any.
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

// Abandon closes an output to which nothing was written, and leaves everything as
// it was before Create.
func (f *File) Abandon() error {
	if f.stdout {
		return nil
	}
	defer f.made.close()
	if f.made != nil && !f.emptied {
		if err := f.made.remove(); err != nil {
			return errors.Join(fmt.Errorf("remove the empty output file %s: %w", f.name, err), f.file.Close())
		}
	}
	return f.file.Close()
}

// Name is the path, or "standard output".
func (f *File) Name() string { return f.name }

// IsTerminal reports whether somebody may be looking.
func (f *File) IsTerminal() bool { return IsTerminal(f.file) }

// Columns is the function of that name, for this file.
func (f *File) Columns() int { return Columns(f.file) }

// Close closes the file; standard output stays open. Its error says that the
// contents may be incomplete.
func (f *File) Close() error {
	if f.stdout {
		return nil
	}
	f.made.close()
	if err := errors.Join(f.empty(), f.file.Close()); err != nil {
		return fmt.Errorf("close %s: %w: its end may be missing; write to another file", f.name, err)
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

// Columns is how many columns a terminal has; 0 where that is not known, or the file
// is none.
func Columns(f *os.File) int {
	conn, err := f.SyscallConn()
	if err != nil {
		return 0
	}
	columns := 0
	err = conn.Control(func(fd uintptr) {
		if size, err := unix.IoctlGetWinsize(int(fd), unix.TIOCGWINSZ); err == nil {
			columns = int(size.Col)
		}
	})
	if err != nil {
		return 0
	}
	return columns
}
