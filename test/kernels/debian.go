// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
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
	from := c.archive(k.Arch, k.Suites...)
	deb, err := from.download(ctx, k.Pattern)
	if err != nil {
		return image{}, err
	}
	debs := []string{deb}
	name := strings.TrimSuffix(filepath.Base(deb), ".deb")
	pkg, _, _ := strings.Cut(name, "_")
	for _, also := range companions(pkg) {
		deb, err := from.download(ctx, "^"+regexp.QuoteMeta(also)+"$")
		if err != nil {
			return image{}, err
		}
		debs = append(debs, deb)
	}
	dir := filepath.Join(c.dir, "images", name)
	if err := extract(ctx, debs, dir, kernelFiles); err != nil {
		return image{}, fmt.Errorf("unpack %s: %w", name, err)
	}
	config, err := only(filepath.Join(dir, "config*"))
	if err != nil {
		return image{}, err
	}
	if err := checkConfig(config); err != nil {
		return image{}, fmt.Errorf("%s: %w", name, err)
	}
	vmlinuz, err := only(filepath.Join(dir, "vmlinuz*"))
	if err != nil {
		return image{}, err
	}
	// Compressed modules have another ending.
	modules, err := filepath.Glob(filepath.Join(dir, "*.ko*"))
	return image{Package: name, Path: vmlinuz, Modules: modules}, err
}

// companions are the packages that hold the rest of a kernel: since 7.x its
// configuration and its modules are apart from the image.
func companions(pkg string) []string {
	version, split := strings.CutPrefix(pkg, "linux-binary-")
	if !split {
		return nil
	}
	return []string{"linux-base-" + version, "linux-modules-" + version}
}

// kernelFiles are what is taken out of a kernel's packages. The one module is the
// file system that containers' roots are made of, which tests mount.
var kernelFiles = regexp.MustCompile(`^boot/(vmlinuz|config)-|^usr/lib/modules/[^/]+/(vmlinuz|config)$|/kernel/fs/overlayfs/overlay\.ko(\.xz)?$`)

// busybox returns the path of a static busybox for arch.
func (c *cache) busybox(ctx context.Context, arch string) (string, error) {
	deb, err := c.archive(arch).download(ctx, `^busybox-static$`)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(c.dir, "images", strings.TrimSuffix(filepath.Base(deb), ".deb"))
	if err := extract(ctx, []string{deb}, dir, regexp.MustCompile(`^(usr/)?bin/busybox$`)); err != nil {
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
