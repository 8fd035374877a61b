// SPDX-License-Identifier: Apache-2.0

package file

import (
	"errors"

	"golang.org/x/sys/unix"
)

// made is a file that this program has created, and where.
type made struct {
	dir  int // O_PATH
	name string
	file unix.Stat_t
}

// make prepares to remember the file that will be in this place.
func (p *place) make() (*made, error) {
	dir, err := unix.FcntlInt(uintptr(p.dir.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return &made{dir: dir, name: p.name}, nil
}

// remove removes the file, unless its name stands for another file by now. A user
// who can swap the name between the check and the removal could have removed the
// other file anyway: it is the same directory, wherever it is.
func (m *made) remove() error {
	var now unix.Stat_t
	err := unix.Fstatat(m.dir, m.name, &now, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) || err == nil && !sameFile(&now, &m.file) {
		return nil
	}
	if err == nil {
		err = unix.Unlinkat(m.dir, m.name, 0)
	}
	return err
}

func (m *made) close() {
	if m != nil && m.dir >= 0 {
		_ = unix.Close(m.dir)
		m.dir = -1
	}
}
