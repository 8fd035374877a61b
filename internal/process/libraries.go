// SPDX-License-Identifier: Apache-2.0

package process

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// MaxLibraries bounds the libraries looked for per program, and maxLookups the
// places that are looked into for all of them: the program chooses both the names
// and the directories.
const (
	MaxLibraries = 4096
	maxLookups   = 1 << 16
)

// Dynamic is what a dynamic linker reads of an ELF file.
type Dynamic struct {
	Class, Machine uint16 // EI_CLASS and e_machine: a library of another kind is passed over
	Interp         string // path of the dynamic linker, "" if none
	Soname         string
	Needed         []string
	RPath, RunPath []string // directories, as written ($ORIGIN and all)
}

// Library is a file that a program will have loaded when it starts.
type Library struct {
	Name     string // as it is needed
	Path     string // inside the root; "" when it was not found
	HostPath string // readable by us; "" when it was not found
	NeededBy string // path inside the root of the file that needs it
	Err      error  // why it was not found or cannot be read
}

// Search says where to look for libraries.
type Search struct {
	Root        string   // directory that the program will see as /; "" is ours
	LibraryPath string   // LD_LIBRARY_PATH of the program; "" if none. Not heeded for set-user-ID programs by the linker
	Preload     []string // LD_PRELOAD, split; loaded before all others
	// Read returns what the dynamic linker reads of a file, which is a regular one
	// and closed afterwards. It must not trust the file.
	Read func(*os.File) (Dynamic, error)
	// LevelDirs are subdirectories of the system's directories for better
	// processors, best first (glibc-hwcaps); nil are this machine's.
	LevelDirs []string
}

// ErrLibraryNotFound says that no directory has a needed library.
var ErrLibraryNotFound = errors.New("not found in the directories of the dynamic linker")

// ResolveLibraries returns the files that the dynamic linker will load with a
// program that has not been started, in its breadth-first order, dynamic linker
// first. It follows ld.so(8): RPATH (of the file and of those that caused it to
// be loaded), LD_LIBRARY_PATH, RUNPATH, the directories of /etc/ld.so.conf, the
// default ones. It does not read ld.so.cache, so a library whose directory was
// taken out of ld.so.conf since may differ. Libraries that are not found are
// returned with their Err. Libraries that the program loads by itself (dlopen)
// cannot be known.
//
// exe is the path inside the root. The error is about the executable itself, or
// wraps ErrTruncated.
func (s Search) ResolveLibraries(exe string) ([]Library, error) {
	r := &resolver{Search: s, loaded: make(map[string]bool), byName: make(map[string]bool)}
	if r.Root == "" {
		r.Root = "/"
	}
	if r.LevelDirs == nil {
		r.LevelDirs = processorLevels()
	}
	real, host, err := inRoot(r.Root, exe)
	if err != nil {
		return nil, fmt.Errorf("executable %s: %w", exe, err)
	}
	dyn, err := r.read(host)
	if err != nil {
		return nil, fmt.Errorf("executable %s: %w", exe, err)
	}
	r.class, r.machine = dyn.Class, dyn.Machine
	r.musl = strings.Contains(path.Base(dyn.Interp), "ld-musl-")
	r.system = r.systemDirs(dyn.Interp)
	main := &object{path: real, dyn: dyn}
	if dyn.Interp != "" {
		r.interp(dyn.Interp, real)
	}
	for _, name := range r.Preload {
		r.need(name, main)
	}
	for r.queue = append([]*object{main}, r.queue...); len(r.queue) > 0; r.queue = r.queue[1:] {
		for _, name := range r.queue[0].dyn.Needed {
			if len(r.found) == MaxLibraries || r.lookups >= maxLookups {
				return r.found, fmt.Errorf("libraries of %s cut at %d: %w", exe, len(r.found), ErrTruncated)
			}
			r.need(name, r.queue[0])
		}
	}
	return r.found, nil
}

// object is a file on the way through the dependencies.
type object struct {
	path   string // inside the root, links resolved
	dyn    Dynamic
	loader *object // whose need loaded it; nil for the program
}

type resolver struct {
	Search
	class, machine uint16
	musl           bool
	system         []string
	loaded         map[string]bool // by path inside the root
	byName         map[string]bool // names and sonames that are settled
	queue          []*object
	found          []Library
	lookups        int
}

func (r *resolver) read(hostPath string) (Dynamic, error) {
	f, _, err := openRegular(hostPath)
	if err != nil {
		return Dynamic{}, err
	}
	defer f.Close()
	return r.Read(f)
}

// interp adds the dynamic linker, which others may need by its soname.
func (r *resolver) interp(name, exe string) {
	lib := Library{Name: name, NeededBy: exe}
	real, host, err := inRoot(r.Root, name)
	if err == nil {
		var dyn Dynamic
		if dyn, err = r.read(host); err == nil {
			r.byName[dyn.Soname] = true
			lib.Path, lib.HostPath = real, host
			r.loaded[real] = true
		}
	}
	lib.Err = err
	r.byName[path.Base(name)] = true
	r.found = append(r.found, lib)
}

// need settles one needed name.
func (r *resolver) need(name string, by *object) {
	if name == "" || r.byName[name] {
		return
	}
	r.byName[name] = true
	lib := Library{Name: name, NeededBy: by.path, Err: ErrLibraryNotFound}
	for _, candidate := range r.paths(name, by) {
		if r.lookups++; r.lookups > maxLookups {
			break
		}
		real, host, err := inRoot(r.Root, candidate)
		if err != nil {
			continue
		}
		if r.loaded[real] {
			return
		}
		dyn, err := r.read(host)
		if err != nil {
			lib.Err = fmt.Errorf("%s: %w", real, err)
			continue
		}
		if dyn.Class != r.class || dyn.Machine != r.machine {
			continue
		}
		r.loaded[real] = true
		if dyn.Soname != "" {
			r.byName[dyn.Soname] = true
		}
		lib.Path, lib.HostPath, lib.Err = real, host, nil
		r.queue = append(r.queue, &object{path: real, dyn: dyn, loader: by})
		break
	}
	r.found = append(r.found, lib)
}

// paths lists where a needed name may be, in the linker's order.
func (r *resolver) paths(name string, by *object) []string {
	if strings.Contains(name, "/") {
		return expand(name, by, r.machine)
	}
	var dirs []string
	add := func(list []string, of *object) {
		for _, d := range list {
			dirs = append(dirs, expand(d, of, r.machine)...)
		}
	}
	// A file's RUNPATH switches its RPATH off; in glibc also those above it.
	if r.musl {
		add(splitPath(r.LibraryPath), by)
		for o := by; o != nil; o = o.loader {
			add(o.dyn.RPath, o)
			add(o.dyn.RunPath, o)
		}
	} else {
		if len(by.dyn.RunPath) == 0 {
			for o := by; o != nil; o = o.loader {
				if len(o.dyn.RunPath) == 0 {
					add(o.dyn.RPath, o)
				}
			}
		}
		add(splitPath(r.LibraryPath), by)
		add(by.dyn.RunPath, by)
	}
	dirs = append(dirs, r.system...)
	var list []string
	for _, d := range dirs {
		if !strings.HasPrefix(d, "/") {
			continue // relative to a working directory that is not known yet
		}
		for _, level := range r.LevelDirs {
			list = append(list, path.Join(d, level, name))
		}
		list = append(list, path.Join(d, name))
	}
	return list
}

// splitPath splits LD_LIBRARY_PATH, which allows both separators.
func splitPath(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ':' || r == ';' })
}

// expand replaces $ORIGIN, $LIB and $PLATFORM. $LIB differs between
// distributions, so that one directory may become several.
func expand(s string, of *object, machine uint16) []string {
	if !strings.Contains(s, "$") {
		return []string{s}
	}
	replace := func(s, token, value string) string {
		return strings.NewReplacer("${"+token+"}", value, "$"+token, value).Replace(s)
	}
	platform := platformName(machine)
	s = replace(s, "ORIGIN", path.Dir(of.path))
	s = replace(s, "PLATFORM", platform)
	if !strings.Contains(s, "$LIB") && !strings.Contains(s, "${LIB}") {
		return []string{s}
	}
	var list []string
	for _, lib := range []string{"lib/" + platform + "-linux-gnu", "lib64", "lib"} {
		list = append(list, replace(s, "LIB", lib))
	}
	return list
}

// maxLinks is the kernel's bound on links in one path (MAXSYMLINKS).
const maxLinks = 40

// inRoot resolves a path as a process would that has root as its root
// directory: absolute links and ".." stay inside. It returns the path inside and
// the path for us.
func inRoot(root, name string) (inside, host string, err error) {
	rest := strings.Split(path.Clean("/"+name), "/")
	inside = "/"
	for links := 0; len(rest) > 0; {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			inside = path.Dir(inside)
			continue
		}
		next := path.Join(inside, part)
		text, err := os.Readlink(filepath.Join(root, next))
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return "", "", err
			}
			inside = next // not a link
			continue
		}
		if links++; links > maxLinks {
			return "", "", fmt.Errorf("%s: too many symbolic links", name)
		}
		if path.IsAbs(text) {
			inside = "/"
		}
		rest = append(strings.Split(text, "/"), rest...)
	}
	host = filepath.Join(root, inside)
	if _, err := os.Stat(host); err != nil {
		return "", "", err
	}
	return inside, host, nil
}
