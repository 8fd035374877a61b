// SPDX-License-Identifier: Apache-2.0

package process

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Linker is how a process gets its libraries. Names do not show it: musl's
// dynamic linker may be mapped as libc.so, and programs bring linkers of their
// own.
type Linker struct {
	// Module is the dynamic linker, one of the modules that were looked at. nil: the
	// program is statically linked.
	Module *Module
	// Direct: the linker is the executable. It was run as a program, with the
	// program to load as an argument.
	Direct bool
}

// Linker finds the dynamic linker of a process among its modules. read says
// what a dynamic linker reads of a file, and must not trust it. The error says
// why the linker is not known.
func (p *Process) Linker(modules []Module, read func(*os.File) (Dynamic, error)) (Linker, error) {
	aux, err := p.auxv()
	if err != nil {
		return Linker{}, err
	}
	// The kernel has put the linker there, whatever has happened to its file's
	// name since.
	if base := aux[auxBase]; base != 0 {
		if m := moduleAt(modules, base); m != nil {
			return Linker{Module: m}, nil
		}
	}
	main := Main(modules)
	if main == nil {
		return Linker{}, fmt.Errorf("dynamic linker of process %d: its executable is not mapped", p.PID)
	}
	dyn, err := readModule(main, read)
	switch {
	case err != nil:
		return Linker{}, fmt.Errorf("dynamic linker of process %d: %w", p.PID, err)
	case dyn.Interp != "": // linked for the address where it is, which the kernel tells as 0
		m, err := p.moduleNamed(modules, dyn.Interp)
		return Linker{Module: m}, err
	case dyn.Shared:
		return Linker{Module: main, Direct: true}, nil
	}
	return Linker{}, nil
}

// Main returns the executable among the modules of a process, nil if it is not
// mapped.
func Main(modules []Module) *Module {
	for i := range modules {
		if modules[i].Main {
			return &modules[i]
		}
	}
	return nil
}

// moduleAt returns the module that is mapped at an address, nil if none is.
func moduleAt(modules []Module, address uint64) *Module {
	for i := range modules {
		for _, m := range modules[i].Mappings {
			if address >= m.Start && address < m.End {
				return &modules[i]
			}
		}
	}
	return nil
}

func readModule(m *Module, read func(*os.File) (Dynamic, error)) (Dynamic, error) {
	f, err := m.Open()
	if err != nil {
		return Dynamic{}, err
	}
	defer f.Close()
	return read(f)
}

// moduleNamed returns the module of the file that the process finds at a path.
// Inode numbers are reused, but not while the file is mapped.
func (p *Process) moduleNamed(modules []Module, path string) (*Module, error) {
	prefix, err := p.memoryDir()
	if err != nil {
		return nil, err
	}
	how := &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT}
	root, err := openRetry(unix.AT_FDCWD, procPath(p.PID)+"/"+prefix+"root", &unix.OpenHow{Flags: how.Flags})
	if err != nil {
		return nil, p.fail("open the root directory", err)
	}
	defer unix.Close(root)
	fd, err := openRetry(root, path, how)
	if err != nil {
		return nil, fmt.Errorf("dynamic linker %s of process %d: %w", path, p.PID, err)
	}
	f, err := statFile(fd)
	if err != nil {
		return nil, fmt.Errorf("dynamic linker %s of process %d: %w", path, p.PID, err)
	}
	defer f.close()
	for i := range modules {
		if modules[i].file == f.id() {
			return &modules[i], nil
		}
	}
	return nil, fmt.Errorf("dynamic linker %s of process %d: the process has not mapped that file", path, p.PID)
}
