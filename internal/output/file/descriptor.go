// SPDX-License-Identifier: Apache-2.0

package file

import (
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ownDescriptor recognises the names of this process's own open files, such as
// /dev/stdout and what a shell makes of >(cmd). Whoever started this process has
// opened them, so there is no path to follow and nothing to check.
func ownDescriptor(names []string) (n int, ok bool) {
	if len(names) < 3 || names[0] != "" {
		return 0, false // not an absolute path
	}
	last := len(names) - 1
	dir := slices.DeleteFunc(slices.Clone(names[:last]), func(name string) bool { return name == "" || name == "." })
	switch strings.Join(dir, "/") {
	case "dev":
		n = slices.Index([]string{"stdin", "stdout", "stderr"}, names[last])
		return n, n >= 0
	case "dev/fd", "proc/self/fd", "proc/thread-self/fd", "proc/" + strconv.Itoa(os.Getpid()) + "/fd":
		u, err := strconv.ParseUint(names[last], 10, 31)
		return int(u), err == nil
	}
	return 0, false
}

// duplicate uses an open file as it is: it continues at the file's position and
// keeps its contents.
func (p *place) duplicate() (*File, error) {
	flags, err := unix.FcntlInt(uintptr(p.descriptor), unix.F_GETFL, 0)
	if err != nil {
		return nil, err
	}
	if access := flags & unix.O_ACCMODE; flags&unix.O_PATH != 0 || access != unix.O_WRONLY && access != unix.O_RDWR {
		return nil, errReadOnly
	}
	fd, err := unix.FcntlInt(uintptr(p.descriptor), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return &File{file: os.NewFile(uintptr(fd), p.path), name: p.path, emptied: true}, nil
}
