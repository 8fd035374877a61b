// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

//go:embed init.sh
var initScript []byte

// guestSource is where a guest has its part of the repository: each tested
// package in its own folder, so that relative paths keep their meaning.
const guestSource = "/pt/src"

// payload is the root file system that all guests of one architecture share.
type payload struct {
	arch string
	root string // folder on the host
	pkgs []testPackage
}

// guestOptions are what a run chooses within a guest.
type guestOptions struct {
	Run     string        // regular expression for -test.run, "" for all
	Timeout time.Duration // of one test binary
}

// step is one test binary run in one mode.
type step struct {
	ID   string // unique within a guest, without spaces
	Mode string
	Pkg  string // folder relative to the repository's root
	Run  string // regular expression for -test.run, "" for that of the guest
	Env  []string
}

// planOf lists what a guest runs, in order.
func planOf(pkgs []testPackage, k kernel) []step {
	var out []step
	for _, m := range k.Modes {
		if m.refuses() {
			out = append(out, step{ID: m.Name + ":" + commandPackage, Mode: m.Name, Pkg: commandPackage, Run: m.Run, Env: m.env()})
			continue
		}
		for _, pkg := range pkgs {
			if pkg.Modes || m.Name == native.Name {
				out = append(out, step{ID: m.Name + ":" + pkg.Dir, Mode: m.Name, Pkg: pkg.Dir, Run: pkg.Run, Env: m.env()})
			}
		}
	}
	return out
}

// buildPayload builds the tests of pkgs for arch and everything they need.
func buildPayload(ctx context.Context, c *cache, arch string, pkgs []testPackage) (_ *payload, err error) {
	root, err := os.MkdirTemp("", "phasetrace-guest-")
	if err != nil {
		return nil, err
	}
	p := &payload{arch: arch, root: root, pkgs: pkgs}
	defer func() {
		if err != nil {
			p.remove()
		}
	}()
	if err := p.addSystem(ctx, c); err != nil {
		return nil, err
	}
	if err := p.goBuild(ctx, "pt/phasetrace", "build", "./cmd/phasetrace"); err != nil {
		return nil, fmt.Errorf("build phasetrace: %w", err)
	}
	dirs := []string{commandPackage}
	for _, pkg := range pkgs {
		if pkg.Dir != commandPackage {
			dirs = append(dirs, pkg.Dir)
		}
	}
	for _, dir := range dirs {
		if err := p.addTests(ctx, dir); err != nil {
			return nil, fmt.Errorf("%s: %w", dir, err)
		}
	}
	return p, p.addFixtures(ctx)
}

func (p *payload) remove() { os.RemoveAll(p.root) }

// addSystem puts in busybox, the first process and the C library.
func (p *payload) addSystem(ctx context.Context, c *cache) error {
	busybox, err := c.busybox(ctx, p.arch)
	if err != nil {
		return err
	}
	if err := p.copyFile(busybox, "bin/busybox"); err != nil {
		return err
	}
	files := map[string]string{
		"init":        string(initScript),
		"etc/passwd":  "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n",
		"etc/group":   "root:x:0:\nnogroup:x:65534:\n",
		"etc/hosts":   "127.0.0.1 localhost guest\n",
		"pt/src/.dir": "",
	}
	for name, content := range files {
		if err := p.write(name, content); err != nil {
			return err
		}
	}
	return p.addLibraries(ctx)
}

// libraries are what programs compiled by the tests are linked to.
var libraries = []string{"libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2", "libgcc_s.so.1", "libstdc++.so.6"}

// loaders are the dynamic loaders' names, which the ABI fixes.
var loaders = map[string]string{"amd64": "lib64/ld-linux-x86-64.so.2", "arm64": "lib/ld-linux-aarch64.so.1"}

// addLibraries copies the compiler's C library for the guest's architecture.
func (p *payload) addLibraries(ctx context.Context) error {
	loader := loaders[p.arch]
	dest := map[string]string{path.Base(loader): loader}
	for _, l := range libraries {
		dest[l] = "lib/" + l
	}
	for name, to := range dest {
		out, err := exec.CommandContext(ctx, compiler(p.arch), "-print-file-name="+name).Output()
		if err != nil {
			return fmt.Errorf("ask %s for %s: %w", compiler(p.arch), name, err)
		}
		from := strings.TrimSpace(string(out))
		if !filepath.IsAbs(from) {
			return fmt.Errorf("%s knows no %s: install the C library for %s", compiler(p.arch), name, p.arch)
		}
		if err := p.copyFile(from, to); err != nil {
			return err
		}
	}
	return nil
}

// compiler is the C compiler that makes programs for arch on this machine.
func compiler(arch string) string {
	if arch == runtime.GOARCH {
		return "gcc"
	}
	return map[string]string{"amd64": "x86_64-linux-gnu-gcc", "arm64": "aarch64-linux-gnu-gcc"}[arch]
}

// goBuild runs one of go's commands that compile, for the guest, into the file
// name of its root.
func (p *payload) goBuild(ctx context.Context, name, command string, args ...string) error {
	out := filepath.Join(p.root, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return err
	}
	all := append(strings.Fields(command), "-trimpath", "-ldflags=-s -w", "-o", out)
	cmd := exec.CommandContext(ctx, "go", append(all, args...)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+p.arch)
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w: %s", command, err, lastLines(string(text), 20))
	}
	if _, err := os.Stat(out); err != nil {
		return errors.New("the package has no tests")
	}
	return nil
}

// addTests builds one package's test binary and copies its test data.
func (p *payload) addTests(ctx context.Context, dir string) error {
	rel := path.Join(strings.TrimPrefix(guestSource, "/"), dir)
	if err := p.goBuild(ctx, path.Join(rel, "package.test"), "test -c", "./"+dir); err != nil {
		return err
	}
	data := filepath.Join(filepath.FromSlash(dir), "testdata")
	if _, err := os.Stat(data); err != nil {
		return nil
	}
	return os.CopyFS(filepath.Join(p.root, filepath.FromSlash(rel), "testdata"), os.DirFS(data))
}

// initramfs writes the archive that kernel k boots with and returns its path,
// which the caller removes. The archive is not compressed: an emulated processor
// would need longer to unpack it than this machine to write it.
func (p *payload) initramfs(k kernel, img image, o guestOptions) (_ string, err error) {
	f, err := os.CreateTemp("", "phasetrace-initrd-")
	if err != nil {
		return "", err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	w := bufio.NewWriterSize(f, 1<<20)
	archive := &cpioWriter{w: w}
	// The kernel opens the console before anything could make this device.
	archive.add("dev", fs.ModeDir|0o755, 0, nil)
	archive.addDevice("dev/console", 5, 1)
	if err := archive.addTree(p.root); err != nil {
		return "", fmt.Errorf("pack the guest: %w", err)
	}
	for name, content := range map[string]string{"pt/plan": planText(planOf(p.pkgs, k)), "pt/env": envText(o)} {
		archive.add(name, 0o644, int64(len(content)), strings.NewReader(content))
	}
	archive.add("pt/modules", fs.ModeDir|0o755, 0, nil)
	for _, m := range img.Modules {
		if err := archive.addPath(m, "pt/modules/"+filepath.Base(m)); err != nil {
			return "", fmt.Errorf("pack the modules: %w", err)
		}
	}
	return f.Name(), errors.Join(archive.close(), w.Flush())
}

// planText is the plan as init.sh reads it: a line a step, with its name, its
// folder, which tests ("-": those of the guest) and its environment.
func planText(steps []step) string {
	var b strings.Builder
	for _, s := range steps {
		fmt.Fprintf(&b, "%s %s %s %s\n", s.ID, path.Join(guestSource, s.Pkg), cmp.Or(s.Run, "-"), strings.Join(s.Env, " "))
	}
	return b.String()
}

// envText is a piece of shell script with the environment of all steps. The
// tests are not told to fail where they would skip: matrix.go judges skips.
func envText(o guestOptions) string {
	return fmt.Sprintf("TEST_TIMEOUT=%s\nTEST_RUN=%s\nexport %s=%s\n", o.Timeout, quote(o.Run), fixturesVariable, guestFixtures)
}

// quote makes a word of the shell out of any text.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func (p *payload) write(name, content string) error {
	to := filepath.Join(p.root, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, []byte(content), 0o755)
}

func (p *payload) copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return p.write(to, string(b))
}
