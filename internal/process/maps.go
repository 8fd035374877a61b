// SPDX-License-Identifier: Apache-2.0

package process

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// MaxMapLines bounds the lines read of a memory map. The kernel's own
	// default bound (vm.max_map_count) is 65530; some systems set 1048576.
	MaxMapLines = 1 << 20
	// MaxMappings bounds the file mappings kept of them.
	MaxMappings = 1 << 17
	// maxMapLine bounds one line: a path of PATH_MAX bytes, each escaped.
	maxMapLine = 32 << 10
)

// Mapping is a range of a process's address space that maps a file.
type Mapping struct {
	Start, End uint64 // addresses in the process, End exclusive
	Offset     uint64 // of Start in the file
	Perms      string // as /proc/PID/maps has it, such as "r-xp"
}

// Executable reports whether code can run in the mapping.
func (m Mapping) Executable() bool { return len(m.Perms) > 2 && m.Perms[2] == 'x' }

// mapLine is one line of /proc/PID/maps.
type mapLine struct {
	Mapping
	Dev   uint64 // as unix.Mkdev makes it
	Inode uint64 // 0: no file
	Name  string // as in the file: escaped, " (deleted)" and all
}

var errMapLine = errors.New("malformed line in the memory map")

// parseMapLine reads a line without its line end.
//
//	55d3b6157000-55d3b615c000 r-xp 00002000 fe:00 247026                     /usr/bin/cat
func parseMapLine(line []byte) (mapLine, error) {
	var m mapLine
	var field [5][]byte
	rest := line
	for i := range field {
		var ok bool
		field[i], rest, ok = bytes.Cut(rest, []byte{' '})
		if !ok && i < 4 {
			return m, errMapLine
		}
	}
	start, end, ok1 := cutHex(field[0], '-')
	major, minor, ok2 := cutHex(field[3], ':')
	offset, err1 := strconv.ParseUint(string(field[2]), 16, 64)
	inode, err2 := strconv.ParseUint(string(field[4]), 10, 64)
	if !ok1 || !ok2 || err1 != nil || err2 != nil || end <= start || len(field[1]) != 4 ||
		major > 0xffffffff || minor > 0xffffffff {
		return m, errMapLine
	}
	m.Start, m.End, m.Offset, m.Perms = start, end, offset, string(field[1])
	m.Dev, m.Inode = unix.Mkdev(uint32(major), uint32(minor)), inode
	m.Name = string(bytes.TrimLeft(rest, " "))
	return m, nil
}

func cutHex(b []byte, sep byte) (x, y uint64, ok bool) {
	left, right, found := bytes.Cut(b, []byte{sep})
	x, err1 := strconv.ParseUint(string(left), 16, 64)
	y, err2 := strconv.ParseUint(string(right), 16, 64)
	return x, y, found && err1 == nil && err2 == nil
}

// parseMaps calls keep for each line that shows a file. It returns ErrTruncated,
// wrapped, when a bound was reached; the lines before it were kept. A malformed
// line is skipped and reported in the same way after the others have been read.
func parseMaps(r io.Reader, keep func(mapLine)) error {
	in := bufio.NewReaderSize(r, maxMapLine)
	var malformed error
	for lines, kept := 0, 0; ; lines++ {
		line, err := in.ReadSlice('\n')
		if len(line) == 0 && err == io.EOF {
			return malformed
		}
		if err != nil && err != io.EOF && err != bufio.ErrBufferFull {
			return err
		}
		if lines == MaxMapLines || kept == MaxMappings || err == bufio.ErrBufferFull {
			return fmt.Errorf("memory map cut after %d lines (%d of files): %w", lines, kept, ErrTruncated)
		}
		m, bad := parseMapLine(bytes.TrimSuffix(line, []byte{'\n'}))
		switch {
		case bad != nil:
			malformed = fmt.Errorf("%w: %.100q: %w", bad, line, ErrTruncated)
		case m.Inode != 0:
			kept++
			keep(m)
		}
	}
}

const deletedSuffix = " (deleted)"

// names returns what the text of a map line or link may stand for, likeliest
// first. The text is ambiguous: the kernel escapes line ends but not
// backslashes, and a file's own name can end in " (deleted)".
func names(text string) (paths []string, deleted bool) {
	plain, deleted := strings.CutSuffix(text, deletedSuffix)
	add := func(s string) {
		for _, have := range paths {
			if have == s {
				return
			}
		}
		paths = append(paths, s)
	}
	unescape := strings.NewReplacer(`\012`, "\n")
	add(unescape.Replace(plain))
	add(plain)
	add(unescape.Replace(text))
	add(text)
	return paths, deleted
}
