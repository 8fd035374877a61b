// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// cpioWriter writes the "newc" format that the kernel unpacks as its initial
// root file system (Documentation/driver-api/early-userspace/buffer-format.rst).
// Entries belong to root; a folder must come before what it holds.
type cpioWriter struct {
	w   io.Writer
	ino int
	err error
}

// add writes one entry. size bytes are read from r, which is nil for a folder.
// A symbolic link's content is its target.
func (c *cpioWriter) add(name string, mode fs.FileMode, size int64, r io.Reader) {
	if c.err != nil {
		return
	}
	if size > 1<<32-1 {
		c.err = fmt.Errorf("%s is too large for the format", name)
		return
	}
	c.header(name, unixMode(mode), size, 0, 0)
	if size > 0 && c.err == nil {
		n, err := io.CopyN(c.w, r, size)
		c.err = err
		c.pad(int(n))
	}
}

// addDevice writes a character device.
func (c *cpioWriter) addDevice(name string, major, minor int) {
	c.header(name, 0o020600, 0, major, minor)
}

// header writes what precedes an entry's content.
func (c *cpioWriter) header(name string, mode uint32, size int64, major, minor int) {
	c.ino++
	links := 1
	if mode&0o170000 == 0o040000 {
		links = 2
	}
	// magic, ino, mode, uid, gid, nlink, mtime, filesize, major, minor, rmajor, rminor, namesize, check
	h := fmt.Sprintf("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		c.ino, mode, 0, 0, links, 0, size, 0, 0, major, minor, len(name)+1, 0)
	c.write(h + name + "\x00")
	c.pad(len(h) + len(name) + 1)
}

// close writes the trailer; it does not close the underlying writer.
func (c *cpioWriter) close() error {
	c.add("TRAILER!!!", 0, 0, nil)
	return c.err
}

func (c *cpioWriter) write(s string) {
	if c.err == nil {
		_, c.err = io.WriteString(c.w, s)
	}
}

// pad fills up to a multiple of four bytes.
func (c *cpioWriter) pad(n int) { c.write("\x00\x00\x00"[:(4-n%4)%4]) }

// unixMode is the st_mode of the few kinds of file that are packed here.
func unixMode(m fs.FileMode) uint32 {
	mode := uint32(m.Perm())
	switch {
	case m.IsDir():
		mode |= 0o040000
	case m&fs.ModeSymlink != 0:
		mode |= 0o120000
	case m.IsRegular():
		mode |= 0o100000
	}
	return mode
}

// addTree writes everything below dir, under the names it has there.
func (c *cpioWriter) addTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil || name == "." {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		return errors.Join(c.addFile(path, filepath.ToSlash(name), info), c.err)
	})
}

// addPath writes the file at path under name.
func (c *cpioWriter) addPath(path, name string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	return c.addFile(path, name, info)
}

func (c *cpioWriter) addFile(path, name string, info fs.FileInfo) error {
	switch {
	case info.IsDir():
		c.add(name, info.Mode(), 0, nil)
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := os.Readlink(path)
		if err != nil {
			return err
		}
		c.add(name, info.Mode(), int64(len(target)), strings.NewReader(target))
	case info.Mode().IsRegular():
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		c.add(name, info.Mode(), info.Size(), f)
	default:
		return fmt.Errorf("%s: only files, folders and symbolic links go into a guest", path)
	}
	return nil
}
