// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/phasetrace/phasetrace/internal/event"
	"github.com/phasetrace/phasetrace/internal/probe"

	"github.com/phasetrace/phasetrace/internal/process"
	"github.com/phasetrace/phasetrace/internal/usdt"
)

// file is an ELF file, read once however many processes map it, and again when its
// contents were changed in place.
type file struct {
	key     fileKey
	id      fileID // as it was last known to hold; guarded by files.mu, as is the next
	settled bool   // other contents have another id
	path    string // as the first process that maps it names it
	elf     *usdt.File
	guard   atomic.Pointer[guard] // nil while no probe is in it

	// The rest is the watcher's.
	plan        []probe.Site
	planned     map[use]bool // the uses of its sites that plan has, or that are left alone
	users       int          // targets that use it
	attachments int          // that are not known to be removed yet
	removals    removals     // of these: those that are under way
	idle        int64        // since when it has no users, ns CLOCK_MONOTONIC
	pinned      bool         // the user named it
	retired     bool
	execs       map[event.File]bool // under which programs need not wait for it
	semaphores  semaphores
}

// use is what a site is to a pair.
type use struct {
	pair   *pair
	effect probe.Effect
	site   int // index into elf.Sites
}

// newUse reports whether a use is new, and remembers it.
func (f *file) newUse(u use) bool {
	if f.planned[u] {
		return false
	}
	if f.planned == nil {
		f.planned = make(map[use]bool)
	}
	f.planned[u] = true
	return true
}

// files are the ELF files of a session. Safe for concurrent use: a look that
// hangs in one file must not keep others waiting.
type files struct {
	mu      sync.Mutex
	known   map[fileKey]*file
	plain   int // of known: those without sites
	pinned  map[fileKey]bool
	linkers map[fileID]linkerCode

	constants map[*file]*constantText // of files that are attached
}

// openFile is an ELF file held open: its path is good for attaching whatever
// becomes of the process.
type openFile struct {
	*file
	handle *os.File
	module *process.Module // of the process that is looked at; nil if it has not mapped the file
}

// attachPath names the open file for the kernel.
func (f openFile) attachPath() string { return fmt.Sprintf("/proc/self/fd/%d", f.handle.Fd()) }

// read opens a file and reads its sites, unless they are known. open must return
// the very file that is meant. The caller closes the handle.
func (fs *files) read(path string, open func() (*os.File, error)) (openFile, error) {
	h, err := open()
	if err != nil {
		return openFile{}, fmt.Errorf("read %s: %w", path, err)
	}
	f, err := fs.readOpen(path, h)
	if err != nil {
		return openFile{}, errors.Join(fmt.Errorf("read %s: %w", path, err), h.Close())
	}
	return openFile{file: f, handle: h}, nil
}

func (fs *files) readOpen(path string, h *os.File) (*file, error) {
	id, err := identify(h)
	if err != nil {
		return nil, err
	}
	if f := fs.find(id); f != nil {
		return f, nil
	}
	f, err := parse(path, h)
	if err != nil {
		return nil, err
	}
	return fs.remember(f), nil
}

// parse reads the sites of an open file.
func parse(path string, h *os.File) (*file, error) {
	st, err := h.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: not a regular file", usdt.ErrNotELF)
	}
	before, settled, err := identifySettled(h)
	if err != nil {
		return nil, err
	}
	parsed, err := usdt.Read(io.NewSectionReader(h, 0, st.Size()), st.Size())
	if err != nil {
		return nil, err
	}
	after, err := identify(h)
	return &file{key: before.fileKey, id: before, settled: settled && after == before, path: path, elf: parsed, semaphores: semaphoresOf(parsed)}, err
}

// find returns what is known of a file and still holds.
func (fs *files) find(id fileID) *file {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	f := fs.known[id.fileKey]
	switch {
	case f == nil:
		return nil
	case f.kept():
		f.id = id // its rights or its name may have changed, what is in it has not
		return f
	case f.id == id && f.settled:
		return f
	}
	return nil
}

// kept reports whether the contents of a file cannot change.
func (f *file) kept() bool {
	g := f.guard.Load()
	return g != nil && g.keeps()
}

// forget makes a file be read anew when it is met again.
func (fs *files) forget(f *file) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.known[f.key] == f {
		delete(fs.known, f.key)
	}
}

// same reports whether an open file is what was read. Where its id does not tell,
// it is read again: nobody must be able to write to it meanwhile.
func (fs *files) same(f openFile) (bool, error) {
	id, err := identify(f.handle)
	if err != nil {
		return false, err
	}
	fs.mu.Lock()
	told := f.id == id && f.settled
	fs.mu.Unlock()
	if told {
		return true, nil
	}
	now, err := parse(f.path, f.handle)
	if err != nil || !reflect.DeepEqual(now.elf, f.elf) {
		return false, nil // it may be anything by now
	}
	fs.mu.Lock()
	f.id = id
	fs.mu.Unlock()
	return true, nil
}

// maxPlain bounds the files without sites that are remembered: a followed
// program can run any number of files.
const maxPlain = 1 << 14

// remember keeps a file, or returns what is known of it already, if that is as
// good.
func (fs *files) remember(f *file) *file {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	key := f.key
	if old := fs.known[key]; old != nil {
		switch {
		case old.kept():
			return old
		case reflect.DeepEqual(old.elf, f.elf):
			old.id, old.settled = f.id, f.settled
			return old
		}
	}
	if fs.known == nil {
		fs.known = make(map[fileKey]*file)
	}
	if len(f.elf.Sites) == 0 {
		if fs.plain++; fs.plain > maxPlain {
			maps.DeleteFunc(fs.known, func(_ fileKey, f *file) bool { return len(f.elf.Sites) == 0 })
			fs.plain = 1
		}
	}
	f.pinned = fs.pinned[key]
	fs.known[key] = f
	return f
}

// pin makes a file stay attached although nobody uses it.
func (fs *files) pin(f *file) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.pinned == nil {
		fs.pinned = make(map[fileKey]bool)
	}
	fs.pinned[f.key] = true
	f.pinned = true
}

// looked is what came of looking for sites in the files of a process.
type looked struct {
	open    []openFile // with sites
	names   []string   // all files looked at
	skipped []string   // files that could not be read, and why
	unread  []string   // of skipped: those that may hold markers
	late    []string   // of skipped: those that are read once they are mapped
	starved error      // no file could be opened any more
}

func (l *looked) close() {
	for _, f := range l.open {
		f.handle.Close()
	}
}

// look reads the files that a process has mapped.
func (fs *files) look(ctx context.Context, modules []process.Module) looked {
	var l looked
	for i := range modules {
		if ctx.Err() != nil {
			break
		}
		m := &modules[i]
		l.names = append(l.names, m.Path)
		if m.Err != nil {
			l.skip(fmt.Errorf("read %s: %w", m.Path, m.Err))
			continue
		}
		f, err := fs.read(m.Path, m.Open)
		f.module = m
		l.add(f, err)
	}
	return l
}

// lookPath reads a file that no process has mapped yet.
func (fs *files) lookPath(l *looked, name, hostPath string) {
	l.names = append(l.names, name)
	f, err := fs.read(name, func() (*os.File, error) { return openPath(hostPath) })
	l.add(f, err)
}

// lookOpen reads a file that is open already.
func (fs *files) lookOpen(l *looked, name string, h *os.File) {
	l.names = append(l.names, name)
	f, err := fs.read(name, func() (*os.File, error) { return reopen(h) })
	l.add(f, err)
}

// openPath opens a regular file; it does not wait for a pipe or the like.
func openPath(path string) (*os.File, error) {
	f, err := process.OpenRegular(path)
	if errors.Is(err, process.ErrNotRegular) {
		err = fmt.Errorf("%w: %w", usdt.ErrNotELF, process.ErrNotRegular)
	}
	return f, err
}

// readDynamic reads what a dynamic linker reads of a file.
func readDynamic(h *os.File) (process.Dynamic, error) {
	st, err := h.Stat()
	if err != nil {
		return process.Dynamic{}, err
	}
	f, err := usdt.Read(io.NewSectionReader(h, 0, st.Size()), st.Size())
	if err != nil {
		return process.Dynamic{}, err
	}
	return dynamicOf(f), nil
}

// readDynamic is readDynamic for a file that may be known already.
func (fs *files) readDynamic(h *os.File) (process.Dynamic, error) {
	if id, err := identify(h); err == nil {
		if f := fs.find(id); f != nil {
			return dynamicOf(f.elf), nil
		}
	}
	return readDynamic(h)
}

func dynamicOf(f *usdt.File) process.Dynamic {
	machine := elf.EM_X86_64
	if f.Arch == probe.ARM64 {
		machine = elf.EM_AARCH64
	}
	return process.Dynamic{
		Class: uint16(elf.ELFCLASS64), Machine: uint16(machine), Shared: f.Shared, Interp: f.Interp, Soname: f.Soname,
		Needed: f.Needed, RPath: f.RPath, RunPath: f.RunPath,
	}
}

func (l *looked) add(f openFile, err error) {
	switch {
	case err != nil:
		l.skip(err)
	case len(f.elf.Sites) == 0 || slices.ContainsFunc(l.open, func(o openFile) bool { return o.file == f.file }):
		f.handle.Close()
	default:
		l.open = append(l.open, f)
	}
}

// skip notes a file that could not be read. One that is no program or library
// has no markers to miss.
func (l *looked) skip(err error) {
	l.skipped = append(l.skipped, err.Error())
	if process.OutOfFiles(err) && l.starved == nil {
		l.starved = err
	}
	if !errors.Is(err, usdt.ErrNotELF) && !errors.Is(err, usdt.ErrUnsupportedELF) {
		l.unread = append(l.unread, err.Error())
	}
}

// allSites are the sites of the files of a process, one after the other.
type allSites struct {
	sites []usdt.Site
	owner []*file       // of each
	first map[*file]int // where a file's sites begin
}

func sitesOf(open []openFile) allSites {
	all := allSites{first: make(map[*file]int)}
	for _, f := range open {
		all.first[f.file] = len(all.sites)
		all.sites = append(all.sites, f.elf.Sites...)
		for range f.elf.Sites {
			all.owner = append(all.owner, f.file)
		}
	}
	return all
}
