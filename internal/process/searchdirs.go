// SPDX-License-Identifier: Apache-2.0

package process

import (
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// setDirs sets where the needs of a file are searched for. by caused it to be
// loaded.
func (r *resolver) setDirs(o, by *object) {
	switch {
	case r.musl: // RUNPATH goes before RPATH, and files inherit either
		own := o.dyn.RunPath
		if len(own) == 0 {
			own = o.dyn.RPath
		}
		own = slices.DeleteFunc(slices.Clone(own), func(dir string) bool { return dir == "" })
		o.last = r.inherit(own, o, by)
		o.inherited = o.last
	case len(o.dyn.RunPath) > 0: // switches RPATH off
		o.inherited = by.inherited
		o.last = r.existing(nil, o.dyn.RunPath, o)
	default:
		o.first = r.inherit(o.dyn.RPath, o, by)
		o.inherited = o.first
	}
}

// inherit returns directories of a file, and after them those of the file that
// caused it to be loaded.
func (r *resolver) inherit(own []string, o, by *object) []*searchDir {
	if len(own) == 0 {
		return by.inherited
	}
	return r.existing(by.inherited, own, o)
}

// existing returns those directories of a list that exist, each once, and then
// those of after.
func (r *resolver) existing(after []*searchDir, list []string, of *object) []*searchDir {
	var dirs []*searchDir
	seen := make(map[*searchDir]bool)
	add := func(d *searchDir) {
		if d != nil && !seen[d] {
			seen[d] = true
			dirs = append(dirs, d)
			r.root.lookups++ // bounds the memory of all lists together
		}
	}
	for _, written := range list {
		for _, dir := range expand(written, of.path, r.machine) {
			d := r.root.dir(r.absolute(dir))
			if d == nil || r.Secure && strings.Contains(written, "ORIGIN") && !slices.Contains(r.system, d) {
				continue // with rights its caller lacks, a program cannot say where it is
			}
			for _, level := range r.levels(d) {
				add(level)
			}
			add(d)
		}
		if r.root.over() != nil {
			return nil
		}
	}
	for _, d := range after {
		add(d)
	}
	return dirs
}

// levels returns the directory's subdirectories for better processors.
func (r *resolver) levels(d *searchDir) []*searchDir {
	if !d.leveled && !r.musl {
		for _, level := range r.LevelDirs {
			if sub := r.root.dir(path.Join(d.path, level)); sub != nil {
				d.levels = append(d.levels, sub)
			}
		}
	}
	d.leveled = true
	return d.levels
}

// envDirs splits LD_LIBRARY_PATH.
func (r *resolver) envDirs() []string {
	switch {
	case r.Secure || r.LibraryPath == "":
		return nil
	case r.musl:
		return strings.FieldsFunc(r.LibraryPath, func(c rune) bool { return c == ':' || c == '\n' })
	}
	return strings.Split(strings.ReplaceAll(r.LibraryPath, ";", ":"), ":") // with its empty elements
}

// absolute returns the path inside the root that a path of the program's means,
// "" if that cannot be known. The empty path means the working directory.
func (r *resolver) absolute(name string) string {
	switch {
	case strings.HasPrefix(name, "/"):
		return name
	case r.cwd() == "" || name == "":
		return r.cwd()
	}
	return r.cwd() + "/" + name // not cleaned: ".." goes up from where a link leads to
}

// workingDir returns the path of the working directory inside the root, "" when
// it has none: it may lie outside, be deleted, or have something mounted over it.
func (r *resolver) workingDir() string {
	if r.Dir == "" {
		return ""
	}
	fd, err := r.root.openat(unix.AT_FDCWD, r.Dir, r.Dir, unix.O_DIRECTORY, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	inside, _, err := r.root.inside(fd)
	if err != nil {
		return ""
	}
	there, err := r.root.file(inside)
	if err != nil {
		return ""
	}
	defer there.close()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || fileIDOf(&st) != there.id() {
		return ""
	}
	return inside
}

// preload loads what comes before everything the program needs.
func (r *resolver) preload(main *object) {
	by := *main
	if by.preload = true; r.Secure || r.musl {
		by.first, by.last, by.inherited = nil, nil, nil
	}
	for _, name := range r.Preload {
		// With rights its caller lacks, only from the linker's own directories.
		if !r.Secure || !r.musl && !strings.Contains(name, "/") {
			r.need(name, &by)
		}
	}
	if r.musl {
		return
	}
	for _, name := range r.preloadFile() {
		r.need(name, main)
	}
}

// splitPreload splits LD_PRELOAD.
func splitPreload(s string) []string {
	return strings.FieldsFunc(s, func(c rune) bool { return c == ' ' || c == ':' })
}

// expand replaces $ORIGIN, $LIB and $PLATFORM in a path that the file at origin
// has. $LIB differs between distributions, so that one directory may become
// several.
func expand(s, origin string, machine uint16) []string {
	if !strings.Contains(s, "$") {
		return []string{s}
	}
	replace := func(s, token, value string) string {
		return strings.NewReplacer("${"+token+"}", value, "$"+token, value).Replace(s)
	}
	platform := platformName(machine)
	s = replace(s, "ORIGIN", path.Dir(origin))
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
