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

// place is where a path leads: a directory that was checked and is held open, a
// name in it, and what had that name. Later changes to the path do not matter.
type place struct {
	*walk
	path string // as given, for messages
	name string
	// held is what had the name, opened with O_PATH; -1 if nothing had.
	held int
	st   unix.Stat_t // of what is held
	// descriptor is the number of an open file of this process, when the path is
	// such a name; -1 otherwise, and then there is a directory.
	descriptor int
}

// find goes to where a path leads. The caller closes the place.
func find(path string, u user) (*place, error) {
	p := &place{walk: &walk{user: u}, path: path, held: -1, descriptor: -1}
	if err := p.find(path); err != nil {
		p.close()
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return p, nil
}

// find goes step by step. The target of a link goes before the names that are
// left.
func (p *place) find(path string) error {
	if path == "" {
		return unix.ENOENT
	}
	var left []string
	for link := path; link != ""; {
		left = append(strings.Split(link, "/"), left...)
		if n, ok := ownDescriptor(left); ok {
			p.descriptor = n
			return nil
		}
		err := p.start(link)
		if err == nil {
			link, left, err = p.advance(left)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// advance goes to the last name, or to the first link and returns that and the
// names after it.
func (p *place) advance(names []string) (link string, left []string, err error) {
	for i, name := range names {
		left = names[i+1:]
		switch {
		case len(left) == 0:
			link, err = p.last(name)
		case name != "" && name != ".":
			link, err = p.step(name)
		}
		if err != nil || link != "" {
			return link, left, err
		}
	}
	return "", nil, nil
}

// last looks at the last name of a path. If that is a link, it returns the
// target.
func (p *place) last(name string) (target string, err error) {
	if name == "" || name == "." || name == ".." {
		return "", unix.EISDIR
	}
	p.name = name
	fd, st, err := p.look(name)
	if errors.Is(err, unix.ENOENT) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		defer unix.Close(fd)
		return p.follow(fd, name)
	case unix.S_IFDIR:
		_ = unix.Close(fd)
		return "", unix.EISDIR
	}
	p.held, p.st = fd, st
	return "", p.check()
}

// check refuses what others could have put there: in a directory they can write
// to, that is another user's file, or a file with further names. What the
// invoking user's links and directories lead to must be their own.
func (p *place) check() error {
	theirs := p.lends(p.dir.st.Uid) || p.lent != ""
	switch planted := p.dir.planted; {
	case planted != nil && !p.trusts(p.st.Uid):
		return &refusal{p.dir.join(p.name), fmt.Errorf("%w (user %d)", errForeignFile, p.st.Uid), planted}
	case planted != nil && p.st.Nlink > 1:
		return &refusal{p.dir.join(p.name), errHardLink, planted}
	case !theirs || p.lends(p.st.Uid) || p.st.Mode&unix.S_IWOTH != 0:
	case p.lent != "":
		return &refusal{p.dir.join(p.name), errLentLink, nil}
	case p.st.Nlink > 1:
		return &refusal{p.dir.join(p.name), errHardLink, &exposure{p.dir.path, fmt.Sprintf("belongs to user %d", p.uid)}}
	}
	return nil
}

func (p *place) regular() bool { return p.held >= 0 && p.st.Mode&unix.S_IFMT == unix.S_IFREG }

func (p *place) close() {
	if p.held >= 0 {
		_ = unix.Close(p.held)
		p.held = -1
	}
	if p.dir != nil {
		p.dir.close()
		p.dir = nil
	}
}

// open opens the file in this place for writing, or creates it. It waits for the
// reader of a pipe as long as ctx allows, and says so first.
func (p *place) open(ctx context.Context, say func(string)) (*File, error) {
	var f *File
	var err error
	switch {
	case p.descriptor >= 0:
		f, err = p.duplicate()
	case p.held >= 0:
		f, err = p.reuse(ctx, say)
	default:
		f, err = p.create()
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: p.path, Err: err}
	}
	return f, nil
}

// create makes the file. It fails with errAppeared if there is one by now.
func (p *place) create() (*File, error) {
	if p.lent != "" && !p.lends(p.dir.st.Uid) && p.dir.st.Mode&unix.S_IWOTH == 0 {
		return nil, &refusal{p.dir.join(p.name), errLentLink, nil}
	}
	m, err := p.make()
	if err != nil {
		return nil, err
	}
	fd, err := openat(m.dir, m.name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		m.close()
		if errors.Is(err, unix.EEXIST) {
			err = errAppeared
		}
		return nil, err
	}
	f := &File{file: os.NewFile(uintptr(fd), p.path), name: p.path, made: m}
	err = unix.Fstat(fd, &m.file)
	if err == nil {
		err = p.own(fd)
	}
	if err != nil {
		return nil, errors.Join(err, f.Abandon())
	}
	return f, nil
}

// own gives a new file to the user it is meant for.
func (p *place) own(fd int) error {
	// The umask can only have removed permissions.
	if err := unix.Fchmod(fd, 0o600); err != nil || !p.give {
		return err
	}
	return unix.Fchown(fd, p.uid, p.gid)
}

// reuse opens the file that is held and no other, whatever has its name now.
func (p *place) reuse(ctx context.Context, say func(string)) (*File, error) {
	fd, err := p.reopen(unix.O_WRONLY)
	if p.st.Mode&unix.S_IFMT == unix.S_IFIFO {
		fd, err = p.awaitReader(ctx, say, fd, err)
	} else if err == nil {
		err = unix.SetNonblock(fd, false)
	}
	if err != nil {
		return nil, err
	}
	return &File{file: os.NewFile(uintptr(fd), p.path), name: p.path}, nil
}

// reopen opens what is held, without waiting.
func (p *place) reopen(flags int) (int, error) {
	fd, err := openat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", p.held), flags|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if errors.Is(err, unix.ENOENT) {
		err = errors.New("a file that exists is opened by /proc, which is not mounted here")
	}
	return fd, err
}

// pipePoll is how often a pipe without a reader is tried again: nothing announces
// a new reader.
const pipePoll = 10 * time.Millisecond

// awaitReader keeps trying to open a pipe; the first try gave fd and err.
func (p *place) awaitReader(ctx context.Context, say func(string), fd int, err error) (int, error) {
	if !errors.Is(err, unix.ENXIO) {
		return fd, err
	}
	say("waiting for somebody to read " + p.path)
	tick := time.NewTicker(pipePoll)
	defer tick.Stop()
	for errors.Is(err, unix.ENXIO) {
		select {
		case <-ctx.Done():
			return -1, &noReader{ctx.Err()}
		case <-tick.C:
		}
		fd, err = p.reopen(unix.O_WRONLY)
	}
	return fd, err
}
