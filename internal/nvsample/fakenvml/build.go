// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package fakenvml builds, for tests, a libnvidia-ml.so and a libcuda.so that
// need no GPU. Their answers and faults come from a file that the test shares
// with them and can change at run time. It knows C and NVML's binary interface;
// it must not know phasetrace.
//
// A process can use one NVML library in its life, so a test that needs another
// one runs itself as a child process.
package fakenvml

import (
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

//go:embed csrc
var sources embed.FS

// Version is the driver version of the fake, in its file name and its answers.
const Version = "550.54.15"

// BuildNVML compiles the library into dir and returns its path, which ends in
// libnvidia-ml.so.1. With old, it lacks what drivers before about version 470
// lack: reserved memory, process lists, MIG.
func BuildNVML(dir string, old bool) (string, error) {
	var flags []string
	if old {
		flags = append(flags, "-DFAKE_OLD")
	}
	name := "libnvidia-ml.so." + Version
	if err := compile(dir, name, "nvml.c", flags); err != nil {
		return "", err
	}
	link := filepath.Join(dir, "libnvidia-ml.so.1")
	if err := os.Symlink(name, link); err != nil && !os.IsExist(err) {
		return "", fmt.Errorf("link the fake NVML library: %w", err)
	}
	return link, nil
}

// BuildCUDA compiles the fake CUDA driver into dir and returns its path, which
// ends in libcuda.so.1.
func BuildCUDA(dir string) (string, error) {
	const name = "libcuda.so.1"
	return filepath.Join(dir, name), compile(dir, name, "cuda.c", nil)
}

func compile(dir, output, source string, flags []string) error {
	tmp, err := os.MkdirTemp(dir, "src")
	if err != nil {
		return fmt.Errorf("compile a fake library: %w", err)
	}
	defer os.RemoveAll(tmp)
	if err := os.CopyFS(tmp, sources); err != nil {
		return fmt.Errorf("compile a fake library: %w", err)
	}
	cc := os.Getenv("CC")
	if cc == "" {
		cc = "cc"
	}
	args := append([]string{"-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-fvisibility=hidden", "-shared",
		"-o", filepath.Join(dir, output),
		filepath.Join(tmp, "csrc", source), filepath.Join(tmp, "csrc", "control.c")}, flags...)
	if out, err := exec.Command(cc, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("compile %s: %w; install a C compiler or set CC\n%s", source, err, out)
	}
	return nil
}
