// SPDX-License-Identifier: Apache-2.0

package process

import (
	"errors"
	"fmt"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// OpenInside opens a regular file for reading, by the name that the process has for
// it: from its root, or from its working directory. It may wait for a file system
// that does not answer.
func (p *Process) OpenInside(name string) (*os.File, error) {
	prefix, err := p.memoryDir()
	if err != nil {
		return nil, err
	}
	rootName, err := p.dir.readlink(prefix + "root")
	if err != nil {
		return nil, p.fail("read the root directory", err)
	}
	if !path.IsAbs(name) {
		cwd, err := p.dir.readlink(prefix + "cwd")
		if err != nil {
			return nil, p.fail("read the working directory", err)
		}
		name = insideRoot(rootName, cwd) + "/" + name // not cleaned: ".." goes up from where a link leads to
	}
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC}
	root, err := openRetry(unix.AT_FDCWD, procPath(p.PID)+"/"+prefix+"root", &how)
	if err != nil {
		return nil, p.fail("open the root directory", err)
	}
	defer unix.Close(root)
	how.Resolve = unix.RESOLVE_IN_ROOT
	fd, err := openRetry(root, name, &how)
	if err != nil {
		return nil, fmt.Errorf("open %s in process %d: %w", name, p.PID, err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, fmt.Errorf("open %s in process %d: %w", name, p.PID, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, fmt.Errorf("open %s in process %d: %w", name, p.PID, ErrNotRegular)
	}
	return reopen(fd, name)
}

// SharesFiles reports whether the same names mean the same files to the process and
// to us.
func (p *Process) SharesFiles() (bool, error) {
	ns, err := p.Namespaces()
	if err != nil || !ns.Mount.Ours {
		return false, err
	}
	prefix, err := p.memoryDir()
	if err != nil {
		return false, err
	}
	theirs, err := p.dir.stat(prefix + "root")
	if err != nil {
		return false, p.fail("look at the root directory", err)
	}
	var ours unix.Stat_t
	if err := unix.Stat("/", &ours); err != nil {
		return false, errors.Join(errors.New("look at our root directory"), err)
	}
	return fileIDOf(&theirs) == fileIDOf(&ours), nil
}
