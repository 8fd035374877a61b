// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// cache is the harness's folder in the user's cache directory. Nothing else is
// written outside the repository and the temporary folder.
type cache struct{ dir string }

func newCache() (*cache, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return nil, fmt.Errorf("find the cache directory: %w", err)
	}
	c := &cache{dir: filepath.Join(base, "phasetrace", "kernels")}
	if err := os.MkdirAll(filepath.Join(c.dir, "debs"), 0o755); err != nil {
		return nil, fmt.Errorf("make the cache directory: %w", err)
	}
	return c, nil
}

// image is a kernel ready to boot.
type image struct {
	Package string   // the Debian package, with its version
	Path    string   // the kernel image
	Modules []string // paths of the modules that the guest loads, in order
}

// kernelImage returns the newest kernel that the package lists offer for k,
// downloading it when it is not in the cache. Without a network it falls back
// to the newest one in the cache.
func (c *cache) kernelImage(ctx context.Context, k kernel) (image, error) {
	deb, err := c.download(ctx, k.Arch, k.Pattern)
	if err != nil {
		return image{}, err
	}
	name := strings.TrimSuffix(filepath.Base(deb), ".deb")
	dir := filepath.Join(c.dir, "images", name)
	if err := extract(ctx, deb, dir, kernelFiles); err != nil {
		return image{}, fmt.Errorf("unpack %s: %w", name, err)
	}
	config, err := only(filepath.Join(dir, "config-*"))
	if err != nil {
		return image{}, err
	}
	if err := checkConfig(config); err != nil {
		return image{}, fmt.Errorf("%s: %w", name, err)
	}
	vmlinuz, err := only(filepath.Join(dir, "vmlinuz-*"))
	if err != nil {
		return image{}, err
	}
	// Compressed modules have another ending.
	modules, err := filepath.Glob(filepath.Join(dir, "*.ko*"))
	return image{Package: name, Path: vmlinuz, Modules: modules}, err
}

// kernelFiles are what is taken out of a kernel's package. The one module is the
// file system that containers' roots are made of, which tests mount.
var kernelFiles = regexp.MustCompile(`^boot/(vmlinuz|config)-|/kernel/fs/overlayfs/overlay\.ko(\.xz)?$`)

// busybox returns the path of a static busybox for arch.
func (c *cache) busybox(ctx context.Context, arch string) (string, error) {
	deb, err := c.download(ctx, arch, `^busybox-static$`)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(c.dir, "images", strings.TrimSuffix(filepath.Base(deb), ".deb"))
	if err := extract(ctx, deb, dir, regexp.MustCompile(`^(usr/)?bin/busybox$`)); err != nil {
		return "", fmt.Errorf("unpack busybox: %w", err)
	}
	return filepath.Join(dir, "busybox"), nil
}

// checkConfig reports which of requiredConfig a kernel's configuration lacks.
func checkConfig(file string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read the kernel's configuration: %w", err)
	}
	lines := strings.Split(string(b), "\n")
	var lacks []string
	for _, opt := range requiredConfig {
		if !slices.Contains(lines, opt+"=y") {
			lacks = append(lacks, opt)
		}
	}
	if lacks != nil {
		return fmt.Errorf("the kernel is built without %s: choose another package in matrix.go", strings.Join(lacks, ", "))
	}
	return nil
}

// download fetches the newest package whose name matches pattern and returns
// the path of its file.
func (c *cache) download(ctx context.Context, arch, pattern string) (string, error) {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return "", fmt.Errorf("bad package pattern: %w", err)
	}
	name, err := c.resolve(ctx, arch, re)
	if err == nil {
		var deb string
		if deb, err = c.fetch(ctx, arch, name); err == nil {
			return deb, nil
		}
	}
	if deb, ok := c.cached(arch, re); ok && ctx.Err() == nil {
		return deb, nil
	}
	return "", err
}

// resolve asks the package lists for the newest name that matches.
func (c *cache) resolve(ctx context.Context, arch string, re *regexp.Regexp) (string, error) {
	if err := c.update(ctx, arch); err != nil {
		return "", err
	}
	out, err := c.apt(ctx, arch, c.dir, "apt-cache", "pkgnames")
	if err != nil {
		return "", err
	}
	if name := newest(strings.Fields(string(out)), re); name != "" {
		return name, nil
	}
	return "", fmt.Errorf("no %s package matches %s: the machine's apt sources must hold a Debian release that has it", arch, re)
}

// fetch downloads one package by its exact name; one already there and intact
// is not downloaded again.
func (c *cache) fetch(ctx context.Context, arch, name string) (string, error) {
	dir := filepath.Join(c.dir, "debs", arch)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	uris, err := c.apt(ctx, arch, dir, "apt-get", "download", "--print-uris", name)
	if err != nil {
		return "", err
	}
	// One line: 'URI' FILE SIZE HASH.
	fields := strings.Fields(string(uris))
	if len(fields) < 2 {
		return "", fmt.Errorf("apt-get download --print-uris %s: no file named in %q", name, uris)
	}
	if _, err := c.apt(ctx, arch, dir, "apt-get", "download", name); err != nil {
		return "", err
	}
	return filepath.Join(dir, filepath.Base(fields[1])), nil
}

// cached finds the newest matching package among those downloaded earlier.
func (c *cache) cached(arch string, re *regexp.Regexp) (string, bool) {
	files, _ := filepath.Glob(filepath.Join(c.dir, "debs", arch, "*.deb"))
	byName := map[string]string{}
	var names []string
	for _, f := range files {
		name, _, _ := strings.Cut(filepath.Base(f), "_")
		byName[name] = f
		names = append(names, name)
	}
	f, ok := byName[newest(names, re)]
	return f, ok
}

// update refreshes the private package lists, at most once in a day.
func (c *cache) update(ctx context.Context, arch string) error {
	dir := filepath.Join(c.dir, "apt", arch)
	stamp := filepath.Join(dir, "updated")
	if fi, err := os.Stat(stamp); err == nil && time.Since(fi.ModTime()) < 24*time.Hour {
		return nil
	}
	for _, d := range []string{"state/lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	// An empty list of installed packages keeps apt from looking at this machine's.
	if err := os.WriteFile(filepath.Join(dir, "status"), nil, 0o644); err != nil {
		return err
	}
	if _, err := c.apt(ctx, arch, c.dir, "apt-get", "update"); err != nil {
		return err
	}
	return os.WriteFile(stamp, nil, 0o644)
}

// apt runs one of apt's programs with the machine's sources and keys but lists,
// state and architecture of its own, so that it needs no root and a foreign
// architecture needs no change to the machine.
func (c *cache) apt(ctx context.Context, arch, dir, program string, args ...string) ([]byte, error) {
	own := filepath.Join(c.dir, "apt", arch)
	all := append([]string{
		"-q",
		"-o", "APT::Architecture=" + arch,
		"-o", "APT::Architectures=" + arch,
		"-o", "APT::Sandbox::User=root",
		"-o", "Acquire::Languages=none",
		"-o", "Dir::State=" + filepath.Join(own, "state"),
		"-o", "Dir::State::status=" + filepath.Join(own, "status"),
		"-o", "Dir::Cache=" + filepath.Join(own, "cache"),
	}, args...)
	cmd := exec.CommandContext(ctx, program, all...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, lastLines(stderr.String(), 3))
	}
	return out, nil
}

// newest returns the name that matches re and comes last when runs of digits
// are compared as numbers, or "".
func newest(names []string, re *regexp.Regexp) string {
	best := ""
	for _, n := range names {
		if re.MatchString(n) && (best == "" || naturalLess(best, n)) {
			best = n
		}
	}
	return best
}

var digitsOrNot = regexp.MustCompile(`[0-9]+|[^0-9]+`)

// naturalLess compares two names with their runs of digits taken as numbers.
func naturalLess(a, b string) bool {
	as, bs := digitsOrNot.FindAllString(a, -1), digitsOrNot.FindAllString(b, -1)
	for i := range min(len(as), len(bs)) {
		if as[i] == bs[i] {
			continue
		}
		x, y := strings.TrimLeft(as[i], "0"), strings.TrimLeft(bs[i], "0")
		if digit(as[i]) && digit(bs[i]) && len(x) != len(y) {
			return len(x) < len(y)
		}
		return x < y
	}
	return len(as) < len(bs)
}

func digit(s string) bool { return s[0] >= '0' && s[0] <= '9' }

// lastLines returns the last n lines of s, joined by semicolons.
func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "; ")
}
