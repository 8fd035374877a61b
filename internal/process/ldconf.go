// SPDX-License-Identifier: Apache-2.0

package process

import (
	"debug/elf"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/cpu"
)

const (
	maxConf      = 1 << 20 // bytes of one configuration file
	maxConfFiles = 512     // of all includes together
	maxConfNames = 1 << 14 // in a directory that an include names by a pattern
)

// systemDirs lists the directories that the dynamic linker looks in last.
// linker is its name as the program has it.
func (r *resolver) systemDirs(linker string) []string {
	if r.musl {
		return r.muslDirs(linker)
	}
	dirs := r.confDirs("/etc/ld.so.conf", make(map[string]bool))
	multiarch := platformName(r.machine) + "-linux-gnu"
	lib := "lib64"
	if elf.Class(r.class) != elf.ELFCLASS64 {
		lib = "lib32"
	}
	return append(dirs, "/lib/"+multiarch, "/usr/lib/"+multiarch, "/"+lib, "/usr/"+lib, "/lib", "/usr/lib")
}

// confDirs reads a file of the form of ld.so.conf(5), with its includes, each
// file once.
func (r *resolver) confDirs(name string, seen map[string]bool) []string {
	if seen[name] || len(seen) == maxConfFiles {
		return nil
	}
	seen[name] = true
	data, err := r.root.read(name, maxConf)
	if err != nil {
		return nil // the linker does without it as well
	}
	var dirs []string
	for line := range strings.Lines(string(data)) {
		line, _, _ := strings.Cut(line, "#")
		line = strings.TrimSpace(line)
		if pattern, ok := strings.CutPrefix(line, "include"); ok && pattern != "" && strings.ContainsAny(pattern[:1], " \t") {
			for _, p := range strings.Fields(pattern) {
				dirs = append(dirs, r.include(name, p, seen)...)
			}
			continue
		}
		if dir, _, _ := strings.Cut(line, "="); strings.HasPrefix(dir, "/") && len(dirs) < maxDirs {
			dirs = append(dirs, strings.TrimSpace(dir))
		}
	}
	return dirs[:min(len(dirs), maxDirs)]
}

func (r *resolver) include(from, pattern string, seen map[string]bool) []string {
	if !path.IsAbs(pattern) {
		pattern = path.Join(path.Dir(from), pattern)
	}
	var dirs []string
	for _, f := range r.glob(pattern) {
		dirs = append(dirs, r.confDirs(f, seen)...)
	}
	return dirs
}

// glob returns the paths inside the root that a pattern names, sorted.
func (r *resolver) glob(pattern string) []string {
	found := []string{"/"}
	for part := range strings.SplitSeq(strings.Trim(path.Clean(pattern), "/"), "/") {
		var next []string
		for _, dir := range found {
			names := []string{part}
			if strings.ContainsAny(part, `*?[\`) {
				names = r.root.names(dir, maxConfNames)
				names = slices.DeleteFunc(names, func(name string) bool {
					ok, err := path.Match(part, name)
					return !ok || err != nil || strings.HasPrefix(name, ".") != strings.HasPrefix(part, ".")
				})
			}
			for _, name := range names {
				next = append(next, path.Join(dir, name))
			}
		}
		slices.Sort(next)
		found = next[:min(len(next), maxConfFiles)]
	}
	return found
}

// preloadFile reads the names of /etc/ld.so.preload, which glibc's linker loads
// with every program.
func (r *resolver) preloadFile() []string {
	data, err := r.root.read("/etc/ld.so.preload", maxConf)
	if err != nil {
		return nil
	}
	var names []string
	for line := range strings.Lines(string(data)) {
		line, _, _ = strings.Cut(line, "#")
		names = append(names, strings.FieldsFunc(line, func(c rune) bool { return strings.ContainsRune(": \t\n\r", c) })...)
	}
	return names
}

// platformName is what the linker's $PLATFORM and the multiarch directories call
// a machine (e_machine).
func platformName(machine uint16) string {
	switch elf.Machine(machine) {
	case elf.EM_X86_64:
		return "x86_64"
	case elf.EM_AARCH64:
		return "aarch64"
	case elf.EM_386:
		return "i386"
	}
	return "unknown"
}

// processorLevels lists glibc's subdirectories for this processor, best first
// (the x86-64 psABI's levels).
func processorLevels() []string {
	x := &cpu.X86
	if !x.HasSSE42 || !x.HasPOPCNT || !x.HasCX16 {
		return []string{}
	}
	levels := []string{"glibc-hwcaps/x86-64-v2"}
	if x.HasAVX2 && x.HasBMI1 && x.HasBMI2 && x.HasFMA {
		levels = append(levels, "glibc-hwcaps/x86-64-v3")
		if x.HasAVX512F && x.HasAVX512BW && x.HasAVX512CD && x.HasAVX512DQ && x.HasAVX512VL {
			levels = append(levels, "glibc-hwcaps/x86-64-v4")
		}
	}
	slices.Reverse(levels)
	return levels
}
