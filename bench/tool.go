// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// tool is another tracer, as a command to put before its arguments.
type tool []string

// findTool returns a program of this machine or, with -peers, of a folder. A folder
// that is a whole system, such as debootstrap makes, has a dynamic linker and
// libraries of its own: with these the program runs here, where files have the same
// names as for all others. Empty if there is none.
func (b *bench) findTool(name string) tool {
	if b.peerRoot == "" {
		if path, err := exec.LookPath(name); err == nil {
			return tool{path}
		}
		return nil
	}
	for _, dir := range []string{"usr/bin", "usr/sbin", "bin", "."} {
		path := filepath.Join(b.peerRoot, dir, name)
		if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
			continue
		}
		return append(ownLinker(b.peerRoot), path)
	}
	return nil
}

// ownLinker is the dynamic linker of a system in a folder, with where it finds
// libraries; empty if there is none.
func ownLinker(root string) tool {
	linkers, _ := filepath.Glob(filepath.Join(root, "usr/lib*/ld-linux-*.so.*"))
	nested, _ := filepath.Glob(filepath.Join(root, "usr/lib/*-linux-gnu"))
	if len(linkers) == 0 || len(nested) == 0 {
		return nil
	}
	return tool{linkers[0], "--library-path", strings.Join(nested, ":")}
}

func (t tool) command(args ...string) *exec.Cmd {
	return exec.Command(t[0], append(t[1:len(t):len(t)], args...)...)
}

// version is the first line of what a tool says of itself.
func (t tool) version() string {
	out, err := t.command("--version").Output()
	if err != nil {
		return fmt.Sprintf("%s: %v", t[len(t)-1], err)
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return line
}
