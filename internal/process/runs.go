// SPDX-License-Identifier: Apache-2.0

package process

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strconv"
)

// Runs reports whether a process runs one of some files, which need not have the name
// that it knows.
func Runs(pid int, files []os.FileInfo) bool {
	st, err := os.Stat("/proc/" + strconv.Itoa(pid) + "/exe")
	return err == nil && slices.ContainsFunc(files, func(f os.FileInfo) bool { return os.SameFile(st, f) })
}

// WhoRuns returns the PIDs of the processes that run one of some files, as far as they
// can be seen, those that have run for the longest time first.
func WhoRuns(files []os.FileInfo) ([]int, error) {
	proc, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer proc.Close()
	names, err := proc.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("list the processes: %w", err)
	}
	type one struct {
		pid     int
		started uint64
	}
	var all []one
	for _, name := range names {
		pid, err := positive(name)
		if err != nil || !Runs(pid, files) {
			continue
		}
		data, err := os.ReadFile("/proc/" + name + "/stat")
		if err != nil {
			continue // it has ended
		}
		if st, err := parseStat(data); err == nil {
			all = append(all, one{pid, st.StartTime})
		}
	}
	slices.SortFunc(all, func(a, b one) int {
		return cmp.Or(cmp.Compare(a.started, b.started), cmp.Compare(a.pid, b.pid))
	})
	pids := make([]int, len(all))
	for i, o := range all {
		pids[i] = o.pid
	}
	return pids, nil
}
