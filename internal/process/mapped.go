// SPDX-License-Identifier: Apache-2.0

package process

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// Mapped says that a process shows a file from an address on.
type Mapped struct {
	PID   int
	Start uint64
}

// MappingsOf lists the mappings of an open file in all processes that can be seen
// from here, this one left out. It may wait for a process that does not answer;
// between processes it heeds the context.
func MappingsOf(ctx context.Context, file *os.File) ([]Mapped, error) {
	id, err := ownMapping(file)
	if err != nil {
		return nil, err
	}
	proc, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer proc.Close()
	names, err := proc.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("list the processes: %w", err)
	}
	var all []Mapped
	for _, name := range names {
		pid, err := positive(name)
		if err != nil || pid == os.Getpid() {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		found, err := mappedBy(pid, id)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

// mappedBy lists the mappings of a file in one process; none when it has ended.
func mappedBy(pid int, id mappedID) (found []Mapped, err error) {
	dir, err := openProcDir(pid)
	if err != nil {
		return nil, nil // ended, or hidden
	}
	defer dir.close()
	maps, err := (&Process{PID: pid, dir: dir}).openMemory("maps")
	if err != nil {
		return nil, nil
	}
	defer maps.Close()
	err = parseMaps(maps, func(m mapLine) {
		if (mappedID{m.Dev, m.Inode}) == id {
			found = append(found, Mapped{pid, m.Start})
		}
	})
	if errors.Is(err, ErrTruncated) {
		return nil, fmt.Errorf("read the memory map of process %d: %w", pid, err)
	}
	return found, nil // of one that has ended meanwhile, what was read
}
