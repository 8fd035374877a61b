// SPDX-License-Identifier: Apache-2.0

package process

import (
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// parents maps each process that we can see to its parent.
func parents() (map[int]int, error) {
	proc, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer proc.Close()
	names, err := proc.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("list the processes: %w", err)
	}
	parents := make(map[int]int, len(names))
	for _, name := range names {
		pid, err := positive(name)
		if err != nil {
			continue
		}
		data, err := os.ReadFile("/proc/" + name + "/stat")
		if err != nil {
			continue // ended, or hidden from us
		}
		if st, err := parseStat(data); err == nil {
			parents[pid] = st.Parent
		}
	}
	return parents, nil
}

// Descendants returns the PIDs of all children, their children, and so on, each
// before its own children. Processes that fork meanwhile may be missed: once
// forks are followed, repeat the call until it returns nothing new. A process
// whose parent has ended belongs to another parent and is not found.
func Descendants(pid int) ([]int, error) {
	if err := unix.Kill(pid, 0); err == unix.ESRCH {
		return nil, fmt.Errorf("process %d: %w", pid, ErrNoProcess)
	}
	parents, err := parents()
	if err != nil {
		return nil, err
	}
	children := make(map[int][]int)
	for child, parent := range parents {
		children[parent] = append(children[parent], child)
	}
	var all []int
	seen := map[int]bool{pid: true}
	for queue := []int{pid}; len(queue) > 0; queue = queue[1:] {
		next := children[queue[0]]
		slices.Sort(next)
		for _, child := range next {
			if !seen[child] {
				seen[child] = true
				all = append(all, child)
				queue = append(queue, child)
			}
		}
	}
	return all, nil
}
