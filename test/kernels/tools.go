// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os/exec"
	"strings"
)

// tool is a program that the harness runs, and the Debian package that has it.
type tool struct{ Program, Package string }

// toolsFor lists the programs needed to run kernels of these architectures.
func toolsFor(arches []string) []tool {
	tools := []tool{{"apt-get", "apt"}, {"dpkg-deb", "dpkg"}}
	for _, a := range arches {
		switch a {
		case "amd64":
			tools = append(tools, tool{"qemu-system-x86_64", "qemu-system-x86"})
		case "arm64":
			tools = append(tools, tool{"qemu-system-aarch64", "qemu-system-arm"})
		}
		c, cxx := compilerPackages(a)
		tools = append(tools, tool{compiler(a), c}, tool{cxxCompiler(a), cxx})
	}
	return tools
}

// compilerPackages are the Debian packages of the C and the C++ compiler for
// arch, each with its library.
func compilerPackages(arch string) (c, cxx string) {
	switch compiler(arch) {
	case "aarch64-linux-gnu-gcc":
		return "gcc-aarch64-linux-gnu libc6-dev-arm64-cross", "g++-aarch64-linux-gnu"
	case "x86_64-linux-gnu-gcc":
		return "gcc-x86-64-linux-gnu libc6-dev-amd64-cross", "g++-x86-64-linux-gnu"
	default:
		return "gcc libc6-dev", "g++"
	}
}

// checkTools returns an error that names everything missing and the one
// command that installs it.
func checkTools(ks []kernel) error {
	var missing, packages []string
	for _, t := range toolsFor(archesOf(ks)) {
		if _, err := exec.LookPath(t.Program); err != nil {
			missing = append(missing, t.Program)
			packages = append(packages, t.Package)
		}
	}
	if missing == nil {
		return nil
	}
	return fmt.Errorf("missing %s: on Debian or Ubuntu run: apt-get install --no-install-recommends %s",
		strings.Join(missing, ", "), strings.Join(packages, " "))
}
