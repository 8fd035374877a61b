// SPDX-License-Identifier: Apache-2.0

package session

import (
	"errors"
	"io"
	"maps"
	"os"
	"slices"

	"github.com/phasetrace/phasetrace/internal/probe"
	"github.com/phasetrace/phasetrace/internal/usdt"
)

// constantText is the memory of a file in which strings cannot change while nobody
// writes to the file: records tell where they are, and they are read from the file
// once.
type constantText struct {
	probe.Constant
	elf    *usdt.File
	handle *os.File
	before os.FileInfo
}

var errChanged = errors.New("the file has changed")

// constantsOf returns those of an open file that is guarded; nil if it has none, or
// if others may write to it.
func (fs *files) constantsOf(f openFile) *probe.Constant {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if c := fs.constants[f.file]; c != nil {
		return &c.Constant
	}
	pages := f.elf.ConstantPages()
	if pages.End == pages.Start || !f.kept() {
		return nil
	}
	h, err := reopen(f.handle)
	if err != nil {
		return nil // names are copied
	}
	c := &constantText{elf: f.elf, handle: h}
	if c.before, err = h.Stat(); err != nil {
		h.Close()
		return nil
	}
	c.Constant = probe.Constant{Start: pages.Start, End: pages.End, Read: c.read}
	if fs.constants == nil {
		fs.constants = make(map[*file]*constantText)
	}
	fs.constants[f.file] = c
	return &c.Constant
}

// dropConstants lets go of those of a file once everything that names them has been
// read.
func (fs *files) dropConstants(f *file) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if c := fs.constants[f]; c != nil {
		c.handle.Close() // nothing was written
		delete(fs.constants, f)
	}
}

// dropAllConstants is dropConstants for all files.
func (fs *files) dropAllConstants() {
	fs.mu.Lock()
	all := slices.Collect(maps.Keys(fs.constants))
	fs.mu.Unlock()
	for _, f := range all {
		fs.dropConstants(f)
	}
}

// read reads from the file what is at an address. It fails if the file has been
// written to: its probes are out then, but their last records may be unread.
func (c *constantText) read(b []byte, addr uint64) (int, error) {
	offset, left, ok := c.elf.FileOffset(addr)
	if !ok {
		return 0, io.EOF
	}
	n, err := c.handle.ReadAt(b[:min(uint64(len(b)), left)], int64(offset))
	now, statErr := c.handle.Stat()
	if statErr != nil || now.Size() != c.before.Size() || !now.ModTime().Equal(c.before.ModTime()) {
		return 0, errChanged
	}
	return n, err
}
