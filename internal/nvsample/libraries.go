// SPDX-License-Identifier: Apache-2.0

package nvsample

import (
	"bufio"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/phasetrace/phasetrace/internal/gpu"
)

// libraryCandidates returns what to try to load, in order: the user's choice
// alone, or what the loader finds and then where drivers put the library on
// distributions, in WSL, in containers of Kubernetes' operators and on NixOS.
func libraryCandidates(path string) []string {
	if path != "" {
		return []string{path}
	}
	const name = "libnvidia-ml.so.1"
	candidates := []string{name}
	for _, dir := range []string{
		"/usr/lib/x86_64-linux-gnu",
		"/usr/lib/aarch64-linux-gnu",
		"/usr/lib/x86_64-linux-gnu/nvidia/current",
		"/usr/lib64",
		"/usr/lib",
		"/usr/lib/wsl/lib",
		"/run/nvidia/driver/usr/lib/x86_64-linux-gnu",
		"/run/nvidia/driver/usr/lib/aarch64-linux-gnu",
		"/run/nvidia/driver/usr/lib64",
		"/home/kubernetes/bin/nvidia/lib64",
		"/usr/local/nvidia/lib64",
		"/opt/nvidia/lib64",
		"/run/opengl-driver/lib",
	} {
		candidates = append(candidates, filepath.Join(dir, name))
	}
	return candidates
}

// tryLibraries returns the first candidate that loads. The error names every file
// that exists but does not load, because the user can do something about those.
func tryLibraries(candidates []string, try func(string) error) (string, error) {
	var why []string
	for _, c := range candidates {
		err := try(c)
		if err == nil {
			return c, nil
		}
		if _, statErr := os.Stat(c); statErr == nil || len(candidates) == 1 {
			why = append(why, err.Error())
		}
	}
	detail := strings.Join(why, "; ")
	if detail == "" {
		detail = "looked where the loader looks and in the usual driver places"
	}
	return "", &gpu.Error{Op: "open the NVML library", Status: gpu.StatusNoLibrary, Detail: detail}
}

var (
	libraryName   = regexp.MustCompile(`libnvidia-ml\.so\.(\d+(?:\.\d+)+)$`)
	kernelVersion = regexp.MustCompile(`NVRM version:.*?\s(\d+\.\d+(?:\.\d+)*)\s`)
)

// libraryVersion returns the version in the file name of the NVML library that
// this process has loaded, empty when unknown. It calls no function of the
// library: none answers when the versions differ.
func libraryVersion() string {
	f, err := os.Open("/proc/self/maps")
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if m := libraryName.FindStringSubmatch(lines.Text()); m != nil {
			return m[1]
		}
	}
	return ""
}

// driverVersion returns the version of the loaded kernel driver, empty when
// there is none.
func driverVersion(root string) string {
	if b, err := os.ReadFile(filepath.Join(root, "sys/module/nvidia/version")); err == nil {
		return strings.TrimSpace(string(b))
	}
	b, err := os.ReadFile(filepath.Join(root, "proc/driver/nvidia/version"))
	if err != nil {
		return ""
	}
	if m := kernelVersion.FindStringSubmatch(string(b)); m != nil {
		return m[1]
	}
	return ""
}

func versionDetail(library, driver string) string {
	if library == "" {
		library = "of unknown version"
	}
	if driver == "" {
		driver = "of unknown version"
	}
	return "library " + library + ", kernel driver " + driver
}
