// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// archive is where packages of one architecture come from: the Debian release
// of the machine's own apt sources, or other suites of the same mirror.
type archive struct {
	cache  *cache
	arch   string
	suites []string // none: the machine's own release
}

func (c *cache) archive(arch string, suites ...string) *archive {
	return &archive{cache: c, arch: arch, suites: suites}
}

// download fetches the newest package whose name matches pattern and returns
// the path of its file.
func (a *archive) download(ctx context.Context, pattern string) (string, error) {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return "", fmt.Errorf("bad package pattern: %w", err)
	}
	name, err := a.resolve(ctx, re)
	if err == nil {
		var deb string
		if deb, err = a.fetch(ctx, name); err == nil {
			return deb, nil
		}
	}
	if deb, ok := a.cached(re); ok && ctx.Err() == nil {
		return deb, nil
	}
	return "", err
}

// resolve asks the package lists for the newest name that matches.
func (a *archive) resolve(ctx context.Context, re *regexp.Regexp) (string, error) {
	if err := a.update(ctx); err != nil {
		return "", err
	}
	out, err := a.apt(ctx, a.cache.dir, "apt-cache", "pkgnames")
	if err != nil {
		return "", err
	}
	if name := newest(strings.Fields(string(out)), re); name != "" {
		return name, nil
	}
	if a.suites != nil {
		return "", fmt.Errorf("no %s package of %s matches %s", a.arch, strings.Join(a.suites, ", "), re)
	}
	return "", fmt.Errorf("no %s package matches %s: the machine's apt sources must hold a Debian release that has it", a.arch, re)
}

// fetch downloads one package by its exact name; one already there and intact
// is not downloaded again.
func (a *archive) fetch(ctx context.Context, name string) (string, error) {
	dir := filepath.Join(a.cache.dir, "debs", a.arch)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	uris, err := a.apt(ctx, dir, "apt-get", "download", "--print-uris", name)
	if err != nil {
		return "", err
	}
	// One line: 'URI' FILE SIZE HASH.
	fields := strings.Fields(string(uris))
	if len(fields) < 2 {
		return "", fmt.Errorf("apt-get download --print-uris %s: no file named in %q", name, uris)
	}
	if _, err := a.apt(ctx, dir, "apt-get", "download", name); err != nil {
		return "", err
	}
	return filepath.Join(dir, filepath.Base(fields[1])), nil
}

// cached finds the newest matching package among those downloaded earlier.
func (a *archive) cached(re *regexp.Regexp) (string, bool) {
	files, _ := filepath.Glob(filepath.Join(a.cache.dir, "debs", a.arch, "*.deb"))
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

// own is the folder of the private package lists.
func (a *archive) own() string {
	return filepath.Join(a.cache.dir, "apt", strings.Join(append([]string{a.arch}, a.suites...), "+"))
}

// update refreshes the private package lists, at most once in a day.
func (a *archive) update(ctx context.Context) error {
	dir := a.own()
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
	if a.suites != nil {
		if err := a.writeSources(ctx); err != nil {
			return err
		}
	}
	if _, err := a.apt(ctx, a.cache.dir, "apt-get", "update"); err != nil {
		return err
	}
	return os.WriteFile(stamp, nil, 0o644)
}

// debianKeys signs all of Debian's suites. It is in every Debian, and where it is
// not, apt uses the keys that the machine trusts anyway.
const debianKeys = "/usr/share/keyrings/debian-archive-keyring.gpg"

// writeSources writes the apt sources of suites that the machine has not got.
func (a *archive) writeSources(ctx context.Context) error {
	mirror, err := a.cache.mirror(ctx, a.arch)
	if err != nil {
		return err
	}
	options := ""
	if _, err := os.Stat(debianKeys); err == nil {
		options = "[signed-by=" + debianKeys + "] "
	}
	var b strings.Builder
	for _, s := range a.suites {
		fmt.Fprintf(&b, "deb %s%s %s main\n", options, mirror, s)
	}
	return os.WriteFile(a.sources(), []byte(b.String()), 0o644)
}

func (a *archive) sources() string { return filepath.Join(a.own(), "sources.list") }

// mirror is the address from which the machine's own apt gets Debian.
func (c *cache) mirror(ctx context.Context, arch string) (string, error) {
	machine := c.archive(arch)
	if err := machine.update(ctx); err != nil {
		return "", err
	}
	out, err := machine.apt(ctx, c.dir, "apt-get", "indextargets", "--format", "$(REPO_URI)",
		"Created-By: Packages", "Origin: Debian", "Label: Debian")
	if err != nil {
		return "", err
	}
	lines := strings.Fields(string(out))
	if len(lines) == 0 {
		return "", errors.New("the machine's apt sources hold no Debian release: add one, to say which mirror to use")
	}
	return lines[0], nil
}

// apt runs one of apt's programs with the machine's keys, and its sources or
// those of the suites, but with lists, state and architecture of its own, so that
// it needs no root and a foreign architecture needs no change to the machine.
func (a *archive) apt(ctx context.Context, dir, program string, args ...string) ([]byte, error) {
	own := a.own()
	all := []string{
		"-q",
		"-o", "APT::Architecture=" + a.arch,
		"-o", "APT::Architectures=" + a.arch,
		"-o", "APT::Sandbox::User=root",
		"-o", "Acquire::Languages=none",
		"-o", "Dir::State=" + filepath.Join(own, "state"),
		"-o", "Dir::State::status=" + filepath.Join(own, "status"),
		"-o", "Dir::Cache=" + filepath.Join(own, "cache"),
	}
	if a.suites != nil {
		all = append(all, "-o", "Dir::Etc::SourceList="+a.sources(), "-o", "Dir::Etc::SourceParts=/dev/null")
	}
	cmd := exec.CommandContext(ctx, program, append(all, args...)...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, lastLines(stderr.String(), 3))
	}
	return out, nil
}
