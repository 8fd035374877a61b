// SPDX-License-Identifier: Apache-2.0

// Package file opens what a session is written to: standard output or a file.
// It knows users and files, not formats or records.
//
// phasetrace often runs as root in somebody else's name, so files are created
// private, are given to the invoking user, and are never written or removed
// through a name that another user could have planted.
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
	emptied bool  // of what it held before, or never to be
}

// Create opens a path for writing from its beginning; "-" is standard output, and
// names such as /dev/stdout and /dev/fd/3 are this process's open files, which go
// on where they are. Where the path leads to a pipe, Create waits for its reader
// until ctx ends, and tells the user so by say.
//
// A new file gets mode 0600 and, under sudo, belongs to the invoking user. An
// existing one keeps mode and owner; it loses its contents with the first Write
// or at Close, and keeps them when the output is abandoned before.
//
// The path is followed as far as other users cannot have planted what is there.
// In and below a directory that belongs to another user than root and the
// invoking one, or that others can write to, no link is followed, and a file is
// written to only if it belongs to one of these users and has no other name. With
// the sticky bit, that does not hold for their own directories in it.
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
