// SPDX-License-Identifier: Apache-2.0

package process

import (
	"context"
	"os"
	"time"

	"github.com/phasetrace/phasetrace/internal/await"
)

// mapsTime is how long one process's memory map is waited for: a process that
// hangs in a page fault can make its readers wait.
const mapsTime = 50 * time.Millisecond

// WhoMaps returns the PIDs of the processes that have a file mapped, as far as
// we can see them and they answer. The file is named as memory maps do (see
// Module).
func WhoMaps(dev, inode uint64) []int {
	proc, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer proc.Close()
	names, _ := proc.Readdirnames(-1)
	var pids []int
	for _, name := range names {
		pid, err := positive(name)
		if err != nil {
			continue
		}
		if mapsFileInTime(name, dev, inode) {
			pids = append(pids, pid)
		}
	}
	return pids
}

func mapsFileInTime(pid string, dev, inode uint64) bool {
	ctx, cancel := context.WithTimeout(context.Background(), mapsTime)
	defer cancel()
	found, err := await.Do(ctx, func(context.Context) (bool, error) { return mapsFile(pid, dev, inode), nil }, nil)
	return err == nil && found
}

func mapsFile(pid string, dev, inode uint64) (found bool) {
	f, err := os.Open("/proc/" + pid + "/maps")
	if err != nil {
		return false // ended, or hidden from us
	}
	defer f.Close()
	_ = parseMaps(f, func(m mapLine) { found = found || m.Dev == dev && m.Inode == inode })
	return found
}
