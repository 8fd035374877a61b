// SPDX-License-Identifier: Apache-2.0

package process

import (
	"bufio"
	"bytes"
	"debug/elf"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/cpu"
)

const (
	maxConf      = 1 << 20 // bytes of one configuration file
	maxConfFiles = 512     // of all includes together
)

// systemDirs lists the directories that the dynamic linker looks in last.
func (r *resolver) systemDirs(interp string) []string {
	if r.musl {
		// musl reads /etc/ld-musl-ARCH.path next to its own name.
		name := strings.TrimSuffix(path.Base(interp), ".so.1")
		if data, err := r.readConf("/etc/" + name + ".path"); err == nil {
			return strings.FieldsFunc(string(data), func(r rune) bool { return r == ':' || r == '\n' })
		}
		return []string{"/lib", "/usr/local/lib", "/usr/lib"}
	}
	dirs := r.confDirs("/etc/ld.so.conf", make(map[string]bool))
	multiarch := platformName(r.machine) + "-linux-gnu"
	if elf.Class(r.class) == elf.ELFCLASS64 {
		dirs = append(dirs, "/lib/"+multiarch, "/usr/lib/"+multiarch, "/lib64", "/usr/lib64", "/lib", "/usr/lib")
	} else {
		dirs = append(dirs, "/lib/"+multiarch, "/usr/lib/"+multiarch, "/lib32", "/usr/lib32", "/lib", "/usr/lib")
	}
	return dirs
}

func (r *resolver) readConf(name string) ([]byte, error) {
	_, host, err := inRoot(r.Root, name)
	if err != nil {
		return nil, err
	}
	f, _, err := openRegular(host)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data := make([]byte, maxConf)
	n, err := f.ReadAt(data, 0)
	if n == 0 {
		return nil, err
	}
	return data[:n], nil
}

// confDirs reads a file of the form of ld.so.conf(5), with its includes, each
// file once.
func (r *resolver) confDirs(name string, seen map[string]bool) []string {
	if seen[name] || len(seen) == maxConfFiles {
		return nil
	}
	seen[name] = true
	data, err := r.readConf(name)
	if err != nil {
		return nil // the linker does without it as well
	}
	var dirs []string
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
		line, _, _ := strings.Cut(lines.Text(), "#")
		line = strings.TrimSpace(line)
		if pattern, ok := strings.CutPrefix(line, "include"); ok && pattern != "" && strings.ContainsAny(pattern[:1], " \t") {
			for _, p := range strings.Fields(pattern) {
				dirs = append(dirs, r.include(name, p, seen)...)
			}
			continue
		}
		if dir, _, _ := strings.Cut(line, "="); strings.HasPrefix(dir, "/") {
			dirs = append(dirs, strings.TrimSpace(dir))
		}
	}
	return dirs
}

func (r *resolver) include(from, pattern string, seen map[string]bool) []string {
	if !path.IsAbs(pattern) {
		pattern = path.Join(path.Dir(from), pattern)
	}
	files, err := filepath.Glob(filepath.Join(r.Root, pattern))
	if err != nil {
		return nil
	}
	slices.Sort(files)
	var dirs []string
	for _, f := range files {
		inside, err := filepath.Rel(r.Root, f)
		if err != nil {
			continue
		}
		dirs = append(dirs, r.confDirs("/"+inside, seen)...)
	}
	return dirs
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
