// SPDX-License-Identifier: Apache-2.0

package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Ready is a file that announces that this process is ready: it appears, and then
// gets one line with the time.
type Ready struct {
	path  string
	place *place // nil for standard output
	made  *made  // what Announce has created
	told  bool   // by Announce, to a file that existed
}

// NewReady finds the place of a ready file, and anything wrong with it before
// work begins. It removes the ready file of an earlier process, known by its
// line, its mode 0600 and its owner. Any other file stays: an empty one will get
// the line, a file with contents is an error. Pipes and devices get the line as
// well.
func NewReady(path string) (*Ready, error) {
	r := &Ready{path: path}
	if path == Stdout {
		return r, nil
	}
	p, err := find(path, invoker(os.Geteuid(), os.Getenv))
	if err != nil {
		return nil, advised("ready file", err)
	}
	r.place = p
	if p.regular() && p.st.Size > 0 {
		if err := p.removeStale(); err != nil {
			r.Close()
			return nil, advised("ready file", &fs.PathError{Op: "open", Path: path, Err: err})
		}
	}
	return r, nil
}

// removeStale removes the ready file of an earlier process, and nothing else.
func (p *place) removeStale() error {
	stale, err := p.stale()
	if err != nil {
		return err
	}
	if !stale {
		return errNotReady
	}
	m, err := p.make()
	if err != nil {
		return err
	}
	defer m.close()
	m.file = p.st
	if err := m.remove(); err != nil {
		return fmt.Errorf("remove the one of an earlier trace: %w", err)
	}
	_ = unix.Close(p.held)
	p.held = -1
	return nil
}

// stale reports whether the file that is held is a ready file: nothing else of
// these users is private and holds one line with such a time.
func (p *place) stale() (bool, error) {
	if p.st.Size > int64(len(time.RFC3339Nano)+1) || p.st.Mode&0o7777 != 0o600 || p.st.Nlink != 1 || !p.trusts(p.st.Uid) {
		return false, nil
	}
	fd, err := p.reopen(unix.O_RDONLY)
	if err != nil {
		return false, err
	}
	defer unix.Close(fd)
	line := make([]byte, p.st.Size)
	n, err := unix.Pread(fd, line, 0)
	if err != nil {
		return false, err
	}
	text, whole := strings.CutSuffix(string(line[:n]), "\n")
	_, err = time.Parse(time.RFC3339Nano, text)
	return whole && err == nil && strings.Contains(text, "."), nil // date -Is gives no fraction
}

// Announce makes the file appear, calls before (in any case), and writes the
// line. For a pipe, it waits for the reader until ctx ends, and tells the user so
// through say.
func (r *Ready) Announce(ctx context.Context, say func(string), before func()) error {
	f := &File{file: os.Stdout, name: "standard output", stdout: true}
	if r.place != nil {
		var err error
		if f, err = r.place.open(ctx, say); err != nil {
			before()
			return advised("ready file", err)
		}
	}
	before()
	r.made, f.made = f.made, nil
	r.told = r.made == nil && r.place != nil && r.place.regular()
	if _, err := fmt.Fprintf(f, "%s\n", time.Now().Format(time.RFC3339Nano)); err != nil {
		return fmt.Errorf("write the ready file: %w", errors.Join(err, f.Close(), r.Withdraw()))
	}
	return f.Close()
}

// Withdraw restores the file as it was before Announce, because the announcement
// did not come true.
func (r *Ready) Withdraw() error {
	switch {
	case r.made != nil:
		if err := r.made.remove(); err != nil {
			return fmt.Errorf("remove the ready file %s: %w", r.path, err)
		}
	case r.told:
		fd, err := r.place.reopen(unix.O_WRONLY)
		if err == nil {
			err = errors.Join(unix.Ftruncate(fd, 0), unix.Close(fd))
		}
		if err != nil {
			return fmt.Errorf("empty the ready file %s: %w", r.path, err)
		}
	}
	return nil
}

// Close leaves the file as it is.
func (r *Ready) Close() {
	r.made.close()
	if r.place != nil {
		r.place.close()
	}
}
