// SPDX-License-Identifier: Apache-2.0

package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	// maxLookups bounds the names that are looked up in one search, and with them
	// the lists of directories: the user who runs the program controls both. A
	// program with 300 libraries in 200 directories, typical of package managers
	// that give each library its own directory, needs half of it.
	maxLookups = 1 << 18
	// maxDirs bounds the directories that are remembered, and maxHandles those
	// that are held open: beyond it, each look-up goes from the root again.
	maxDirs    = 4096
	maxHandles = 256
)

// rootDir looks files up like a process with a directory as its root: absolute
// links and ".." stay inside. For one goroutine, except at and what sets it.
type rootDir struct {
	ctx     context.Context // no look-up starts once it has ended
	host    string          // path of the directory for us
	name    string          // as the kernel names it
	fd      int
	dirs    map[string]*searchDir // that there are, by path
	handles int
	lookups int
	starved error // no file could be opened any more

	mu      sync.Mutex
	current string // what is being looked at
}

// searchDir is a directory that names are looked up in.
type searchDir struct {
	path    string       // inside the root, as it was asked for
	fd      int          // -1: not held open
	levels  []*searchDir // its subdirectories for better processors, best first
	leveled bool         // levels is known
}

// errTooMany says that a bound of this file was reached.
var errTooMany = fmt.Errorf("too many directories or names to look up: %w", ErrTruncated)

func openRootDir(ctx context.Context, host string) (*rootDir, error) {
	r := &rootDir{ctx: ctx, host: host, fd: -1, dirs: make(map[string]*searchDir)}
	r.at(host)
	fd, err := openRetry(unix.AT_FDCWD, host, &unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC})
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: host, Err: err}
	}
	r.fd = fd
	if r.name, err = fdName(fd); err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

func (r *rootDir) close() {
	for _, d := range r.dirs {
		if d.fd >= 0 {
			unix.Close(d.fd)
		}
	}
	unix.Close(r.fd)
}

// at notes what is being looked at, for the message if the caller gives up.
func (r *rootDir) at(path string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.current = path
}

// over returns why nothing more is to be looked up, nil if there is no reason.
func (r *rootDir) over() error {
	if r.lookups >= maxLookups || len(r.dirs) > maxDirs {
		return errTooMany
	}
	return errors.Join(r.starved, r.ctx.Err())
}

// openat looks a name up, as O_PATH and flags: neither a pipe nor a device can
// block or have an effect.
func (r *rootDir) openat(fd int, name, path string, flags, resolve uint64) (int, error) {
	if err := r.over(); err != nil {
		return -1, err
	}
	r.lookups++
	r.at(path)
	fd, err := openRetry(fd, name, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC | flags, Resolve: resolve})
	if err != nil {
		err = &os.PathError{Op: "open", Path: path, Err: err}
		if OutOfFiles(err) {
			r.starved = fmt.Errorf("%w (%w)", err, ErrTruncated)
		}
		return -1, err
	}
	return fd, nil
}

// openRetry is openat2. A look-up of ".." at the time of a rename somewhere, which
// the kernel cannot keep inside the root for certain, is tried again.
func openRetry(fd int, name string, how *unix.OpenHow) (int, error) {
	for tries := 0; ; tries++ {
		got, err := unix.Openat2(fd, name, how)
		if err != unix.EINTR && (err != unix.EAGAIN || tries == 8) {
			return got, err
		}
	}
}

// dir returns a directory by its path inside the root, nil if there is none.
func (r *rootDir) dir(path string) *searchDir {
	if d := r.dirs[path]; d != nil {
		return d
	}
	fd, err := r.openat(r.fd, path, path, unix.O_DIRECTORY, unix.RESOLVE_IN_ROOT)
	if err != nil {
		return nil
	}
	d := &searchDir{path: path, fd: fd}
	if r.handles++; r.handles > maxHandles {
		unix.Close(fd)
		d.fd = -1
	}
	r.dirs[path] = d
	return d
}

// foundFile is a file inside the root.
type foundFile struct {
	fd   int // as O_PATH
	stat unix.Stat_t
}

func (f *foundFile) close()     { unix.Close(f.fd) }
func (f *foundFile) id() fileID { return fileIDOf(&f.stat) }

// find looks a name up in a directory.
func (r *rootDir) find(d *searchDir, name string) (foundFile, error) {
	path := d.path + "/" + name
	if d.fd < 0 {
		return r.file(path)
	}
	fd, err := r.openat(d.fd, name, path, unix.O_NOFOLLOW, 0)
	if err != nil {
		return foundFile{}, err
	}
	f, err := statFile(fd)
	if err == nil && f.stat.Mode&unix.S_IFMT == unix.S_IFLNK {
		f.close()
		return r.file(path) // a link is resolved from the root
	}
	return f, err
}

// file looks a path inside the root up.
func (r *rootDir) file(path string) (foundFile, error) {
	fd, err := r.openat(r.fd, path, path, 0, unix.RESOLVE_IN_ROOT)
	if err != nil {
		return foundFile{}, err
	}
	return statFile(fd)
}

func statFile(fd int) (foundFile, error) {
	f := foundFile{fd: fd}
	if err := unix.Fstat(fd, &f.stat); err != nil {
		unix.Close(fd)
		return foundFile{}, err
	}
	return f, nil
}

// inside returns the path of a file inside the root, without links, and its
// path for us.
func (r *rootDir) inside(fd int) (inside, host string, err error) {
	name, err := fdName(fd)
	if err != nil {
		return "", "", err
	}
	if inside = insideRoot(r.name, name); name == r.name {
		inside = "/"
	}
	return inside, filepath.Join(r.host, inside), nil
}

// open opens a file for reading, if it is a regular one.
func (r *rootDir) open(f foundFile, path string) (*os.File, error) {
	if f.stat.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, ErrNotRegular
	}
	if err := r.ctx.Err(); err != nil {
		return nil, err
	}
	return reopen(f.fd, path)
}

// read returns at most limit bytes of a regular file.
func (r *rootDir) read(path string, limit int) ([]byte, error) {
	f, err := r.file(path)
	if err != nil {
		return nil, err
	}
	defer f.close()
	file, err := r.open(f, path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data := make([]byte, min(int64(limit), f.stat.Size))
	n, err := file.ReadAt(data, 0)
	if n == 0 {
		return nil, err
	}
	return data[:n], nil
}

// names returns at most limit names of a directory, in any order.
func (r *rootDir) names(path string, limit int) []string {
	d := r.dir(path)
	if d == nil || d.fd < 0 || r.over() != nil {
		return nil
	}
	fd, err := unix.Openat(d.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	names, _ := f.Readdirnames(limit)
	return names
}

// fdName is the kernel's name of an open file.
func fdName(fd int) (string, error) { return os.Readlink("/proc/self/fd/" + strconv.Itoa(fd)) }

// reopen opens for reading what an O_PATH descriptor leads to, which must be a
// regular file. O_NONBLOCK is for the open alone: a file with a lease on it would
// hold that up. It must not stay: Go's poller would then register the file, ask
// its file system about it, and block the whole program until that answers.
func reopen(fd int, path string) (*os.File, error) {
	rd, err := unix.Open("/proc/self/fd/"+strconv.Itoa(fd), unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(rd, false); err != nil {
		return nil, errors.Join(err, unix.Close(rd))
	}
	return os.NewFile(uintptr(rd), path), nil
}
