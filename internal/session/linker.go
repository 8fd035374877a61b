// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

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
	id      fileID
	settled bool // as file.settled
	handle  *os.File
	path    string
	static  bool // it is the executable, and no dynamic linker
	direct  bool // it is the executable, and was told what to run
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
func (lo *looker) linkerOf(ctx context.Context, proc *process.Process, modules []process.Module) (*linker, error) {
	found, err := proc.Linker(modules, lo.files.readDynamic)
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
	if l.id, l.settled, err = identifySettled(l.handle); err != nil {
		return nil, errors.Join(err, l.handle.Close())
	}
	l.linkerCode = lo.files.linkerCode(l)
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
func (fs *files) linkerCode(l *linker) linkerCode {
	fs.mu.Lock()
	code, known := fs.linkers[l.id]
	fs.mu.Unlock()
	if known && l.settled {
		return code
	}
	code = readLinkerCode(l.handle, l.static)
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.linkers == nil || len(fs.linkers) >= maxLinkers {
		fs.linkers = make(map[fileID]linkerCode)
	}
	fs.linkers[l.id] = code
	return code
}

func readLinkerCode(h *os.File, static bool) (code linkerCode) {
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
	return code
}
