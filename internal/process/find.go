// SPDX-License-Identifier: Apache-2.0

package process

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// exe returns the executable's path in the target's view.
func (p *Process) exe() (path string, deleted bool, err error) {
	prefix, err := p.memoryDir()
	if err != nil {
		return "", false, err
	}
	text, err := p.dir.readlink(prefix + "exe")
	if err != nil {
		return "", false, p.fail("read the path of the executable", err)
	}
	root, err := p.dir.readlink(prefix + "root")
	if err != nil {
		return "", false, p.fail("read the root directory", err)
	}
	path, deleted = strings.CutSuffix(text, deletedSuffix)
	return insideRoot(root, path), deleted, nil
}

// insideRoot turns a path that the kernel told us into the target's view. The
// kernel leaves a chroot's directory in front of it; a container with a root
// of its own has none.
func insideRoot(root, path string) string {
	if root != "/" {
		if rest, ok := strings.CutPrefix(path, root); ok && strings.HasPrefix(rest, "/") {
			return rest
		}
	}
	return path
}

// finder looks for the files behind the mappings of one process, in one look.
type finder struct {
	p     *Process
	ready bool
	proc  string // "/proc/PID/" or "/proc/PID/task/TID/"
	root  string // the target's root as we see it
	exe   fileID // of the executable
	stale bool   // a mapping had gone before its file was found
}

func (f *finder) prepare() error {
	if f.ready {
		return nil
	}
	prefix, err := f.p.memoryDir()
	if err != nil {
		return err
	}
	if f.root, err = f.p.dir.readlink(prefix + "root"); err != nil {
		return f.p.fail("read the root directory", err)
	}
	st, err := f.p.dir.stat(prefix + "exe")
	if err != nil {
		return f.p.fail("look at the executable", err)
	}
	f.exe = fileIDOf(&st)
	f.proc = procPath(f.p.PID) + "/" + prefix
	f.ready = true
	return nil
}

// module finds the file behind a mapping; ok is false when it is not ELF.
func (f *finder) module(mf mappedFile) (m Module, ok bool, err error) {
	if err := f.prepare(); err != nil {
		return m, false, err
	}
	paths, deleted := names(mf.name)
	m = Module{
		Path: insideRoot(f.root, paths[0]), Deleted: deleted,
		Dev: mf.id.dev, Inode: mf.id.inode, Mappings: mf.mappings,
	}
	var refused error
	for _, c := range f.candidates(mf, paths) {
		file, id, err := openRegular(c.path)
		if errors.Is(err, ErrNotRegular) && (c.certain || mappedID(id) == mf.id) {
			return m, false, nil // a device that holds code, not a program
		}
		if OutOfFiles(err) {
			m.Err = fmt.Errorf("open the mapped file %q: %w", m.Path, err)
			return m, true, nil
		}
		if err != nil {
			if isPermission(err) && !c.certain {
				refused = err
			}
			continue
		}
		same := c.certain || sameFile(file, id, mf.id)
		isELF := same && hasELFMagic(file)
		file.Close()
		if !same {
			continue
		}
		m.OpenPath, m.file = c.path, id
		if c.name != "" {
			m.Path, m.Deleted = c.name, false
		}
		if id == f.exe {
			m.Main, m.OpenPath = true, f.proc+"exe"
		}
		return m, isELF, nil
	}
	if err := f.p.Alive(); err != nil {
		return m, false, err
	}
	if !strings.HasPrefix(mf.name, "/") {
		return m, false, nil // anonymous inodes and the like hold no program
	}
	m.Err = f.unreadable(&m, refused)
	return m, true, nil
}

// unreadable says why no path leads to a mapped file.
func (f *finder) unreadable(m *Module, refused error) error {
	op := fmt.Sprintf("open the mapped file %q", m.Path)
	if refused != nil {
		return f.p.fail(op, refused)
	}
	if !holds("CAP_CHECKPOINT_RESTORE") && !holds("CAP_SYS_ADMIN") {
		op += ", which is deleted or replaced at its path,"
		return permission(f.p.PID, op, f.p.owner(), "CAP_CHECKPOINT_RESTORE", unix.EPERM)
	}
	f.stale = true
	return fmt.Errorf("%s: it is neither at its path nor in %s/map_files; if it was just unmapped, try again",
		op, procPath(f.p.PID))
}

// candidate is a path that may lead to a mapped file.
type candidate struct {
	path    string
	name    string // what the target calls it when this is the file
	certain bool   // the kernel's own link to the mapped file
}

// candidates lists the paths to try, least privileged first. Equal names prove
// nothing: only the file's identity does.
func (f *finder) candidates(mf mappedFile, paths []string) []candidate {
	var list []candidate
	if strings.HasPrefix(mf.name, "/") {
		for _, path := range paths {
			inside := insideRoot(f.root, path)
			list = append(list, candidate{path: f.proc + "root" + inside, name: inside})
			if inside != path {
				list = append(list, candidate{path: f.proc + "root" + path, name: path})
			}
		}
		// Leads to a deleted or replaced executable without any capability.
		list = append(list, candidate{path: f.proc + "exe"})
	}
	// Needs CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN in the initial user namespace.
	for _, m := range mf.mappings {
		if m.Executable() {
			path := fmt.Sprintf("%s/map_files/%x-%x", procPath(f.p.PID), m.Start, m.End)
			list = append(list, candidate{path: path, certain: true})
		}
	}
	return list
}

// ErrNotRegular says that a path does not name a regular file.
var ErrNotRegular = errors.New("not a regular file")

// openRegular opens a regular file for reading. The target may have put
// anything at the path: nothing is opened before it is known to be a regular
// file, so neither a pipe nor a device can block or have an effect.
func openRegular(path string) (*os.File, fileID, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fileID{}, err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, fileID{}, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, fileIDOf(&st), ErrNotRegular
	}
	f, err := reopen(fd, path)
	return f, fileIDOf(&st), err
}

// OpenRegular opens a regular file for reading. If the path names a pipe, a
// device or the like, it fails and opens nothing. It may wait for a file system
// that does not answer.
func OpenRegular(path string) (*os.File, error) {
	f, _, err := openRegular(path)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return f, nil
}

// sameFile reports whether an open file is the one that a memory map shows.
func sameFile(file *os.File, stat fileID, mapped mappedID) bool {
	if stat.inode == mapped.inode && stat.dev == mapped.dev {
		return true
	}
	// overlayfs and btrfs show one device in stat and another in maps. Map
	// the file and compare what the kernel shows of our mapping with what
	// it shows of the target's: the same code computed both.
	own, err := ownMapping(file)
	return err == nil && own == mapped
}

// ownMapping maps a page of the file and returns what our memory map shows.
func ownMapping(file *os.File) (mappedID, error) {
	page, err := unix.Mmap(int(file.Fd()), 0, os.Getpagesize(), unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return mappedID{}, fmt.Errorf("map the file: %w", err)
	}
	defer unix.Munmap(page)
	address := addressOf(page)
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		return mappedID{}, err
	}
	defer maps.Close()
	var id mappedID
	err = parseMaps(maps, func(m mapLine) {
		if address >= m.Start && address < m.End {
			id = mappedID{m.Dev, m.Inode}
		}
	})
	if id == (mappedID{}) && err == nil {
		err = errors.New("own mapping not found")
	}
	return id, err
}

func hasELFMagic(r io.ReaderAt) bool {
	var magic [4]byte
	_, err := r.ReadAt(magic[:], 0)
	return err == nil && string(magic[:]) == "\x7fELF"
}
