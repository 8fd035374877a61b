// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/process"
	"github.com/phasetrace/phasetrace/internal/usdt"
)

const (
	// debuggerHook is the function that dynamic linkers call for debuggers when
	// their list of libraries changes (glibc and musl alike). A program that is
	// statically linked with glibc has it as well, for its dlopen.
	debuggerHook = "_dl_debug_state"
	// objectList is the list that they show debuggers: glibc's, and the address of
	// musl's.
	objectList, objectListPointer = "_r_debug", "_dl_debug_addr"
	// dlopenText is in every program that is statically linked with a glibc that can
	// load libraries (elf/dl-open.c).
	dlopenText = "invalid mode for dlopen()"
)

// linker is what loads the libraries of a process: its dynamic linker, or the
// executable of a statically linked program. It is held open.
type linker struct {
	id     fileID
	handle *os.File
	path   string
	static bool // it is the executable, and no dynamic linker
	direct bool // it is the executable, and was told what to run
	linkerCode
	hook *os.File // has the function that is called; nil: handle
	err  error    // why libraries that are loaded later are not noticed
}

// linkerCode is what a linker's file says.
type linkerCode struct {
	usdt.Functions
	objects   loader.ObjectList
	unnoticed bool // a static program that may load libraries without debuggerHook
	err       error
}

func (l *linker) close() {
	l.handle.Close()
	if l.hook != nil {
		l.hook.Close()
	}
}

// linkerOf finds and opens what loads the libraries of a process. nil: nothing
// that could have markers.
func (w *watcher) linkerOf(ctx context.Context, proc *process.Process, modules []process.Module) (*linker, error) {
	found, err := proc.Linker(modules, w.files.readDynamic)
	switch {
	case errors.Is(err, usdt.ErrUnsupportedELF), errors.Is(err, usdt.ErrNotELF):
		return nil, nil
	case err != nil:
		return nil, err
	}
	l := &linker{static: found.Module == nil, direct: found.Direct}
	m := found.Module
	if l.static {
		m = process.Main(modules)
	}
	l.path = m.Path
	if l.handle, err = m.Open(); err != nil {
		return nil, err
	}
	if l.id, err = identify(l.handle); err != nil {
		return nil, errors.Join(err, l.handle.Close())
	}
	l.linkerCode = w.files.linkerCode(l.id, l.handle, l.static)
	if l.err = l.linkerCode.err; l.err == nil && l.Named[debuggerHook] == 0 && !l.static {
		l.askHook(ctx, proc, modules)
	}
	return l, nil
}

// askHook looks for what is called by the process itself, where the linker's
// file does not name it.
func (l *linker) askHook(ctx context.Context, proc *process.Process, modules []process.Module) {
	h, err := proc.DebuggerHook(ctx, modules)
	if err == nil {
		l.hook, err = h.Module.Open()
	}
	if err != nil {
		l.err = fmt.Errorf("%s has no function %s, and tells of no other (%w)", l.path, debuggerHook, err)
		return
	}
	l.Named = map[string]uint64{debuggerHook: h.Offset} // not the cache's own map
	l.objects = loader.ObjectList{Known: h.List != 0, Distance: h.List}
}

// objectsOf says where the list of objects is, as a linker's file names it.
func objectsOf(f *usdt.Functions) loader.ObjectList {
	hook, ok := f.Addresses[debuggerHook]
	list, known := f.Addresses[objectList]
	if !known {
		list, known = f.Addresses[objectListPointer]
	}
	_, pointer := f.Addresses[objectListPointer]
	return loader.ObjectList{Known: ok && known, Distance: int64(list - hook), Pointer: pointer}
}

// watchable reports whether libraries that are loaded later are noticed.
func (l *linker) watchable() bool { return l != nil && l.Named[debuggerHook] != 0 }

// maxLinkers bounds the files that are known as linkers; static programs are
// among them.
const maxLinkers = 1 << 12

// linkerCode reads a linker's file, once.
func (fs *files) linkerCode(id fileID, h *os.File, static bool) linkerCode {
	fs.mu.Lock()
	code, known := fs.linkers[id]
	fs.mu.Unlock()
	if known {
		return code
	}
	st, err := h.Stat()
	if err != nil {
		return linkerCode{err: err}
	}
	in := io.NewSectionReader(h, 0, st.Size())
	code.Functions, code.err = usdt.FindFunctions(in, st.Size(), debuggerHook, objectList, objectListPointer)
	code.objects = objectsOf(&code.Functions)
	if code.err == nil && static && code.Named[debuggerHook] == 0 {
		code.unnoticed, code.err = usdt.HasText(in, st.Size(), dlopenText)
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.linkers == nil || len(fs.linkers) >= maxLinkers {
		fs.linkers = make(map[fileID]linkerCode)
	}
	fs.linkers[id] = code
	return code
}

// watchLibraries makes what loads the libraries of a process tell of those that
// are loaded later, and hold programs that are run later.
func (w *watcher) watchLibraries(t *target, v *view) {
	err := v.linkerErr
	if l := v.linker; l != nil {
		t.direct = l.direct
		err = errors.Join(w.watchHook(t, l), w.holdIn(l))
	}
	if err != nil && !errors.Is(err, process.ErrNoProcess) && !errors.Is(err, unix.ESRCH) && !process.Gone(t.pid, 0) {
		w.say("warning: programs and libraries that process %d runs from now on may be seen late or not at all: %v%s", t.pid, err, w.cfg.advice(TopicLibrary))
	}
}

// watchHook attaches to what is called when a library has been loaded, once.
func (w *watcher) watchHook(t *target, l *linker) (err error) {
	reach, pid := w.reachOf(t)
	if _, watched := reach.linkers[l.id]; watched {
		return nil
	}
	var at *loader.Attachment
	switch {
	case l.err != nil:
		err = l.err
	case l.watchable():
		at, err = w.tracer.WatchLibraries(pid, fdPath(l.hook, l.handle), l.Named[debuggerHook], l.objects)
	case l.unnoticed:
		w.plan.warnings.add(fmt.Sprintf("%s is statically linked and stripped: libraries that it loads by itself (dlopen) are not noticed%s", l.path, w.cfg.advice(TopicLibrary)))
	}
	reach.linkers[l.id] = at
	return err
}

// holdIn makes programs that start in a dynamic linker wait there, once.
func (w *watcher) holdIn(l *linker) error {
	if l.static || l.Entry == 0 || w.holding[l.id] {
		return nil
	}
	w.holding[l.id] = true
	_, err := w.tracer.HoldExecs(fdPath(l.handle), l.Entry)
	return err
}

// fdPath names the first open file for the kernel.
func fdPath(files ...*os.File) string {
	for _, f := range files {
		if f != nil {
			return fmt.Sprintf("/proc/self/fd/%d", f.Fd())
		}
	}
	return ""
}
