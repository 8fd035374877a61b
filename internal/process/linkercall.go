// SPDX-License-Identifier: Apache-2.0

package process

import (
	"path"
	"strings"
)

// linkerCall is what a dynamic linker is told when it is run as a program:
//
//	/lib64/ld-linux-x86-64.so.2 --library-path lib ./program arg…
type linkerCall struct {
	program     string  // "" if there is none
	libraryPath *string // instead of LD_LIBRARY_PATH; nil if not given
	preload     []string
}

// valued are the options of glibc's and musl's linkers that have a value, which
// may be the next argument.
var valued = map[string]bool{
	"--library-path": true, "--preload": true, "--argv0": true, "--audit": true, "--inhibit-rpath": true,
	"--glibc-hwcaps-prepend": true, "--glibc-hwcaps-mask": true,
}

// parseLinkerCall reads a linker's arguments, its name first.
func parseLinkerCall(args []string) linkerCall {
	var call linkerCall
	for i := 1; i < len(args); i++ {
		option, value, has := strings.Cut(args[i], "=")
		switch {
		case args[i] == "--" && i+1 < len(args):
			call.program = args[i+1]
			return call
		case !strings.HasPrefix(args[i], "--"):
			call.program = args[i]
			return call
		case valued[option] && !has:
			if i++; i < len(args) {
				value = args[i]
			}
		}
		switch option {
		case "--library-path":
			call.libraryPath = &value
		case "--preload":
			call.preload = splitPreload(value)
		}
	}
	return call
}

// isMusl tells musl's dynamic linker from glibc's, whose soname is always ld-…,
// whatever its file's name. o is nil when the file could not be read.
func isMusl(name string, o *object) bool {
	if strings.Contains(path.Base(name), "ld-musl-") {
		return true
	}
	return o != nil && !strings.HasPrefix(o.dyn.Soname, "ld")
}

// muslItself reports whether a needed name means musl's dynamic linker, which
// is the C library too (load_library in ldso/dynlink.c).
func muslItself(name string) bool {
	rest, ok := strings.CutPrefix(name, "lib")
	if !ok {
		return false
	}
	stem, _, _ := strings.Cut(rest, ".")
	switch stem {
	case "c", "pthread", "rt", "m", "dl", "util", "xnet":
		return strings.Contains(rest, ".")
	}
	return false
}

// muslDirs lists the directories that musl's linker looks in last. It reads
// them from a file two levels above its own name.
func (r *resolver) muslDirs(linker string) []string {
	prefix := path.Dir(path.Dir(linker))
	if !path.IsAbs(linker) || prefix == "/" {
		prefix = ""
	}
	data, err := r.root.read(prefix+"/etc/ld-musl-"+platformName(r.machine)+".path", maxConf)
	if err == nil {
		return strings.FieldsFunc(string(data), func(r rune) bool { return r == ':' || r == '\n' })
	}
	return []string{"/lib", "/usr/local/lib", "/usr/lib"}
}
