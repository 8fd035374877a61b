// SPDX-License-Identifier: Apache-2.0

package process

import (
	"context"
	"fmt"
	"iter"
	"path"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// resolver is one search for the libraries of a program.
type resolver struct {
	Search
	exe            string
	class, machine uint16
	musl           bool
	env, system    []*searchDir // LD_LIBRARY_PATH; what the linker looks in last
	cwd            func() string
	loaded         map[fileID]bool
	byName         map[string]bool // names and sonames already resolved
	queue          []*object
	cut            bool // MaxLibraries was reached

	mu    sync.Mutex // guards what follows: the caller may give up waiting
	root  *rootDir   // set once
	found []Library  // grows
}

// object is a file on the way through the dependencies.
type object struct {
	path string // inside the root, links resolved
	dyn  Dynamic
	// Where the linker looks for what the file needs: first in the RPATH of the
	// file and of those that caused it to be loaded, and after LD_LIBRARY_PATH in
	// its RUNPATH. inherited is what it leaves to the files that it loads.
	first, last, inherited []*searchDir
	preload                bool // stands for LD_PRELOAD
}

func newResolver(s Search, exe string) *resolver {
	if s.Root == "" {
		s.Root = "/"
	}
	if s.LevelDirs == nil {
		s.LevelDirs = processorLevels()
	}
	r := &resolver{Search: s, exe: exe, loaded: make(map[fileID]bool), byName: make(map[string]bool)}
	r.cwd = sync.OnceValue(r.workingDir)
	return r
}

// soFar returns the libraries found by now.
func (r *resolver) soFar() []Library {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.found)
}

// current returns what is being looked at.
func (r *resolver) current() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.root == nil {
		return ""
	}
	r.root.mu.Lock()
	defer r.root.mu.Unlock()
	return r.root.current
}

func (r *resolver) add(lib Library) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.found = append(r.found, lib)
}

func (r *resolver) resolve(ctx context.Context) error {
	root, err := openRootDir(ctx, r.Root)
	if err != nil {
		return fmt.Errorf("root directory of %s: %w", r.exe, err)
	}
	defer root.close()
	r.mu.Lock()
	r.root = root
	r.mu.Unlock()
	main, err := r.program()
	if err != nil {
		return fmt.Errorf("executable %s: %w", r.exe, err)
	}
	r.preload(main)
	for r.queue = append([]*object{main}, r.queue...); len(r.queue) > 0; r.queue = r.queue[1:] {
		for _, name := range r.queue[0].dyn.Needed {
			r.need(name, r.queue[0])
		}
	}
	switch err := root.over(); {
	case err != nil:
		return fmt.Errorf("libraries of %s cut at %d: %w", r.exe, len(r.found), err)
	case r.cut:
		return fmt.Errorf("libraries of %s cut at %d: %w", r.exe, MaxLibraries, ErrTruncated)
	}
	return nil
}

// program reads the executable and its dynamic linker, which others may need
// by its soname. When the executable is a linker, the program is the one that
// it was told to run.
func (r *resolver) program() (*object, error) {
	var lib Library
	exe, err := r.readAt(r.exe, &lib)
	if err != nil {
		return nil, err
	}
	r.class, r.machine = exe.dyn.Class, exe.dyn.Machine
	if exe.dyn.Interp == "" && exe.dyn.Shared && len(r.Args) > 0 {
		return r.direct(exe), nil
	}
	if exe.dyn.Interp != "" {
		r.interp(exe.dyn.Interp, exe.path)
	}
	r.system = r.existing(nil, r.systemDirs(exe.dyn.Interp), exe)
	r.env = r.existing(nil, r.envDirs(), exe)
	r.setDirs(exe, &object{})
	return exe, nil
}

// direct finds the program that a dynamic linker was told to run.
func (r *resolver) direct(linker *object) *object {
	call := parseLinkerCall(r.Args)
	if call.libraryPath != nil {
		r.LibraryPath = *call.libraryPath
	}
	r.Preload = append(slices.Clone(r.Preload), call.preload...)
	r.interp(r.exe, linker.path)
	r.system = r.existing(nil, r.systemDirs(r.Args[0]), linker)
	r.env = r.existing(nil, r.envDirs(), linker)
	if call.program == "" {
		return linker
	}
	if r.musl && !strings.Contains(call.program, "/") {
		call.program = "./" + call.program // glibc's looks for it as for a library
	}
	lib := Library{Name: call.program, NeededBy: linker.path, Err: ErrLibraryNotFound}
	main := r.search(&lib, &object{path: linker.path})
	r.add(lib)
	if main == nil {
		return linker
	}
	r.env = r.existing(nil, r.envDirs(), main)
	return main
}

// readAt reads a file by its path inside the root, and says in lib where it is.
func (r *resolver) readAt(path string, lib *Library) (*object, error) {
	f, err := r.root.file(path)
	if err != nil {
		return nil, err
	}
	defer f.close()
	o, err := r.readFile(f, lib)
	if err == nil {
		r.loaded[f.id()] = true
	}
	return o, err
}

func (r *resolver) readFile(f foundFile, lib *Library) (*object, error) {
	inside, host, err := r.root.inside(f.fd)
	if err != nil {
		return nil, err
	}
	file, err := r.root.open(f, host)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", inside, err)
	}
	defer file.Close()
	dyn, err := r.Read(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", inside, err)
	}
	lib.Path, lib.HostPath = inside, host
	return &object{path: inside, dyn: dyn}, nil
}

// interp adds the dynamic linker.
func (r *resolver) interp(name, exe string) {
	lib := Library{Name: name, NeededBy: exe}
	o, err := r.readAt(r.absolute(name), &lib)
	if lib.Err = err; err == nil {
		r.byName[o.dyn.Soname] = true
	}
	r.musl = isMusl(name, o)
	r.byName[name] = true
	r.byName[path.Base(name)] = true
	r.add(lib)
}

// need settles one needed name.
func (r *resolver) need(name string, by *object) {
	if name == "" || r.byName[name] || r.musl && muslItself(name) || r.root.over() != nil {
		return
	}
	if r.cut = len(r.found) == MaxLibraries; r.cut {
		return
	}
	r.byName[name] = true
	lib := Library{Name: name, NeededBy: by.path, Err: ErrLibraryNotFound}
	o := r.search(&lib, by)
	if o == nil && lib.Err == nil {
		return // known by another name
	}
	r.add(lib)
	if o != nil {
		r.queue = append(r.queue, o)
	}
}

// search looks for a file that the linker would load by a name. It says in lib
// what came of it; it returns nil, and sets no error there, for a file that is
// already loaded.
func (r *resolver) search(lib *Library, by *object) *object {
	for f := range r.places(lib.Name, by) {
		o := r.try(f, lib, by)
		f.close()
		if o != nil || lib.Err == nil {
			return o
		}
	}
	return nil
}

// try takes a file of the right name, if it is one that the linker takes.
func (r *resolver) try(f foundFile, lib *Library, by *object) *object {
	if r.loaded[f.id()] {
		lib.Err = nil
		return nil
	}
	if by.preload && r.Secure && f.stat.Mode&unix.S_ISUID == 0 {
		return nil
	}
	found := *lib
	o, err := r.readFile(f, &found)
	if err != nil {
		lib.Err = err
		return nil
	}
	if o.dyn.Class != r.class || o.dyn.Machine != r.machine {
		return nil
	}
	r.loaded[f.id()] = true
	if o.dyn.Soname != "" {
		r.byName[o.dyn.Soname] = true
	}
	*lib, lib.Err = found, nil
	r.setDirs(o, by)
	return o
}

// places lists the files that may be meant by a needed name, in the linker's
// order. The consumer closes them.
func (r *resolver) places(name string, by *object) iter.Seq[foundFile] {
	return func(yield func(foundFile) bool) {
		if strings.Contains(name, "/") {
			for _, path := range expand(name, by.path, r.machine) {
				f, err := r.root.file(r.absolute(path))
				if err == nil && !yield(f) {
					return
				}
			}
			return
		}
		for _, dirs := range [][]*searchDir{by.first, r.env, by.last, r.system} {
			for _, d := range dirs {
				f, err := r.root.find(d, name)
				if err == nil && !yield(f) || r.root.over() != nil {
					return
				}
			}
		}
	}
}
