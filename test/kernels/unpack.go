// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
)

// extract unpacks the files of Debian packages that match re into dir, without
// their folders. A folder that is already there is complete.
func extract(ctx context.Context, debs []string, dir string, re *regexp.Regexp) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "unpack-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	for _, deb := range debs {
		if err := extractOne(ctx, deb, tmp, re); err != nil {
			return err
		}
	}
	return os.Rename(tmp, dir)
}

func extractOne(ctx context.Context, deb, dir string, re *regexp.Regexp) error {
	cmd := exec.CommandContext(ctx, "dpkg-deb", "--fsys-tarfile", deb)
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	err = untar(pipe, dir, re)
	// The rest of the archive must be read, else dpkg-deb fails with a broken pipe.
	_, cerr := io.Copy(io.Discard, pipe)
	return errors.Join(err, cerr, cmd.Wait())
}

// untar copies the regular files that match re out of an archive into dir.
func untar(r io.Reader, dir string, re *regexp.Regexp) error {
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		name := path.Clean(h.Name)
		if h.Typeflag != tar.TypeReg || !re.MatchString(name) {
			continue
		}
		f, err := os.OpenFile(filepath.Join(dir, path.Base(name)), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, tr)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
}

// only returns the one file that matches a glob pattern.
func only(pattern string) (string, error) {
	m, err := filepath.Glob(pattern)
	if err != nil || len(m) != 1 {
		return "", fmt.Errorf("%d files match %s, want one: remove the folder to unpack it again", len(m), pattern)
	}
	return m[0], nil
}
