// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"time"

	"github.com/phasetrace/phasetrace/internal/await"
	"github.com/phasetrace/phasetrace/internal/clock"
	"github.com/phasetrace/phasetrace/internal/engine"
	"github.com/phasetrace/phasetrace/internal/process"
	"github.com/phasetrace/phasetrace/internal/usdt"
)

const (
	// lookTime bounds a look at a process while tracing: a program that has run
	// exec waits for it.
	lookTime = 200 * time.Millisecond
	// aheadTime bounds the search for the libraries of a program that has run exec;
	// heldTime that of a program which waits for as long as it takes.
	aheadTime = lookTime / 2
	heldTime  = 5 * time.Second
)

// errLookTime says that a look took too long.
var errLookTime = errors.New("its files did not answer in time")

// view is what a look at a process has found. Its open files belong to whoever
// has it.
type view struct {
	looked
	proc      *process.Process // the caller's
	at        int64            // when it began
	modules   []process.Module // all that are mapped now
	added     int              // of them: not known from the last look
	linker    *linker          // nil: not known, or nothing that could have markers
	linkerErr error            // why it is not known
	who       engine.Description
	gone      bool // it has ended, or has nothing mapped any more
	replaced  bool // it runs another program than at the last look
	starting  bool
	cut       bool           // more files are mapped than are looked at
	later     bool           // some file cannot be attached to yet
	loaded    []*file        // that request.added names
	newer     map[*file]bool // of these: those that may have got their name since
	lost      []string       // of these names: those of which the file could not be read
}

// request says what to look at.
type request struct {
	proc     *process.Process
	earlier  []process.Module
	starting bool          // its libraries are not mapped yet: look for those it will load
	ahead    time.Duration // no longer than this
	also     *pending      // a file that it used, and may use again; nil for none
	added    added         // libraries that it has loaded since the last look
	addedBy  int64         // when that was last told, ns Unix time
}

func (v *view) close() {
	v.looked.close()
	if v.linker != nil {
		v.linker.close()
	}
}

// looker reads what processes have mapped. It changes nothing but the cache of
// files, and is safe for concurrent use.
type looker struct {
	cfg   *Config
	files *files
}

// look looks at a process, for as long as the context allows. What hangs is left
// behind. The caller closes the view.
func (lo *looker) look(ctx context.Context, r request) (*view, error) {
	v, err := await.Do(ctx, func(ctx context.Context) (*view, error) { return lo.see(ctx, r) }, (*view).close)
	switch {
	case errors.Is(err, await.ErrBusy):
		return nil, fmt.Errorf("%w, like others before (%w)", errLookTime, err)
	case errors.Is(err, context.DeadlineExceeded):
		return nil, errLookTime
	}
	return v, err
}

// see reads what there is to see of a process. It changes nothing but the cache
// of files.
func (lo *looker) see(ctx context.Context, r request) (*view, error) {
	v := &view{proc: r.proc, at: clock.Monotonic(), starting: r.starting, newer: make(map[*file]bool)}
	_ = r.proc.Refresh() // if it has ended, the next line finds out
	added, modules, err := r.proc.ModulesSince(r.earlier)
	v.cut = errors.Is(err, process.ErrTruncated)
	if err != nil && !v.cut {
		return nil, err
	}
	v.modules, v.added, v.gone = modules, len(added), len(modules) == 0
	v.who = lo.describe(r.proc)
	v.looked = lo.files.look(ctx, modules)
	if r.starting {
		lo.lookAhead(ctx, &v.looked, r)
	}
	for _, path := range lo.cfg.Libraries {
		lo.files.lookPath(&v.looked, path, path)
	}
	if p := r.also; p != nil {
		lo.files.lookOpen(&v.looked, p.path, p.file)
	}
	lo.lookAdded(ctx, v, r)
	if len(v.unread)+len(v.lost) > 0 && over(r.proc, modules) { // that is why they could not be read
		v.gone = v.gone || len(v.lost) > 0
		v.unread, v.lost = nil, nil
	}
	v.replaced = len(r.earlier) > 0 && !sameProgram(r.earlier, modules)
	if !v.gone {
		v.linker, v.linkerErr = lo.linkerOf(ctx, r.proc, modules)
	}
	if err := errors.Join(v.starved, ctx.Err()); err != nil {
		v.close()
		return nil, err
	}
	return v, nil
}

// over reports whether a program has ended, or is about to: while it hands its
// memory back, it lives and has nothing mapped. Or its process runs another.
func over(proc *process.Process, modules []process.Module) bool {
	mapped, err := proc.Modules()
	return err != nil && !errors.Is(err, process.ErrTruncated) || len(mapped) == 0 || !sameProgram(modules, mapped)
}

// sameProgram reports whether the modules of two looks at a process are of the
// same program, with no exec between them.
func sameProgram(earlier, now []process.Module) bool {
	a, b := process.Main(earlier), process.Main(now)
	return a == nil || b == nil || a.Dev == b.Dev && a.Inode == b.Inode && a.Mappings[0].Start == b.Mappings[0].Start
}

// describe says who a process is.
func (lo *looker) describe(proc *process.Process) engine.Description {
	d := engine.Description{Comm: proc.Comm, Exe: proc.Exe, Title: proc.Title(), StartTime: proc.StartTime}
	if n := len(proc.NSPIDs); n > 0 {
		d.ContainerPID = proc.NSPIDs[n-1]
	}
	if lo.cfg.RankSource != "" {
		d.Rank, d.RankSource = lo.cfg.Rank, lo.cfg.RankSource
		return d
	}
	if rank, source, ok := proc.Rank(); ok {
		d.Rank, d.RankSource = int32(rank), source
	}
	return d
}

// lookAhead reads the libraries that a program that starts is about to load,
// so that their markers are attached before they are mapped. What is not found
// in time is seen once it is loaded: the files that are mapped go first.
func (lo *looker) lookAhead(ctx context.Context, l *looked, r request) {
	search, err := r.proc.LibrarySearch()
	if err != nil {
		l.skipped = append(l.skipped, err.Error())
	}
	search.Read = readDynamic
	searching, cancel := context.WithTimeout(ctx, r.ahead)
	defer cancel()
	libs, err := search.ResolveLibraries(searching, r.proc.Exe)
	if err != nil {
		l.skipped = append(l.skipped, err.Error())
	}
	if process.OutOfFiles(err) {
		l.starved = err
	}
	if gaveUp := new(process.SearchTimeError); errors.As(err, &gaveUp) && ctx.Err() == nil || errors.Is(err, process.ErrTruncated) {
		l.late = append(l.late, err.Error())
	}
	for _, lib := range libs {
		if lib.Err == nil && lib.HostPath != "" && ctx.Err() == nil {
			lo.files.lookPath(l, lib.Path, lib.HostPath)
		}
	}
}

// clockTick is how much earlier than it was a file's change can be told to be: the
// kernel takes the time of its last tick.
const clockTick = 10 * time.Millisecond

// lookAdded reads the libraries that a process has loaded and that are not among
// what it has mapped now.
func (lo *looker) lookAdded(ctx context.Context, v *view, r request) {
	for _, name := range r.added.names {
		// The kernel's own object has no path.
		mapped := slices.ContainsFunc(v.modules, func(m process.Module) bool { return m.Path == name })
		if ctx.Err() != nil || path.Base(name) == name || mapped || slices.Contains(v.names, name) {
			continue
		}
		f, err := lo.files.read(name, func() (*os.File, error) { return v.proc.OpenInside(name) })
		switch {
		case err == nil:
			v.loaded = append(v.loaded, f.file)
			if id, err := identify(f.handle); err != nil || id.changed > r.addedBy-int64(clockTick) {
				v.newer[f.file] = true
			}
			v.looked.add(f, nil)
		case !errors.Is(err, usdt.ErrNotELF) && !errors.Is(err, usdt.ErrUnsupportedELF):
			v.lost = append(v.lost, name)
		}
	}
}

// pin reads the files that the user named, which stay attached.
func (lo *looker) pin() error {
	for _, path := range lo.cfg.Libraries {
		f, err := lo.files.read(path, func() (*os.File, error) { return openPath(path) })
		if err != nil {
			return &LibraryError{path, err}
		}
		f.handle.Close()
		if len(f.elf.Sites) == 0 {
			return &LibraryError{path, fmt.Errorf("%s: %w in it", path, ErrNoMarkers)}
		}
		lo.files.pin(f.file)
	}
	return nil
}
