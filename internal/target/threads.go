// SPDX-License-Identifier: Apache-2.0

package target

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Thread is a thread of a process, as it was when looked at.
type Thread struct {
	ID        int    // as our PID namespace numbers it
	NSIDs     []int  // its id in each namespace from ours inwards
	Name      string // at most 15 bytes, any bytes
	StartTime uint64 // clock ticks since boot; with ID it names the thread for ever
}

// ThreadIDs returns the ids of the process's live threads, as our PID
// namespace numbers them, in ascending order.
func (p *Process) ThreadIDs() ([]int, error) {
	ids, err := p.dir.numbers("task")
	if err != nil {
		return nil, p.fail("list the threads", err)
	}
	if len(ids) == 0 {
		return nil, ErrNoProcess
	}
	if err := p.Alive(); err != nil {
		return nil, err
	}
	slices.Sort(ids)
	return ids, nil
}

// Thread looks at one thread of the process. ErrNoProcess says that the
// process has no such thread (any more).
func (p *Process) Thread(id int) (Thread, error) {
	prefix := "task/" + strconv.Itoa(id) + "/"
	st, err := p.stat(prefix + "stat")
	if err != nil {
		return Thread{}, err
	}
	status, err := p.status(prefix + "status")
	if err != nil {
		return Thread{}, err
	}
	if len(status.NSPIDs) == 0 {
		status.NSPIDs = []int{id}
	}
	return Thread{ID: id, NSIDs: status.NSPIDs, Name: st.Comm, StartTime: st.StartTime}, nil
}

// Children returns the PIDs of a process's children, those not yet reaped
// included, in ascending order. Children that are born or die during the call
// may or may not be among them.
func Children(pid int) ([]int, error) {
	dir, err := openProcDir(pid)
	if err != nil {
		return nil, fmt.Errorf("process %d: %w", pid, hiddenOrGone(pid, err))
	}
	defer dir.close()
	tids, err := dir.numbers("task")
	if err != nil {
		return nil, fmt.Errorf("process %d: %w", pid, hiddenOrGone(pid, err))
	}
	var children []int
	for _, tid := range tids {
		data, cut, err := dir.read("task/"+strconv.Itoa(tid)+"/children", 16<<20)
		switch {
		case err == nil && !cut:
		case isGone(err) && hasChildrenFiles():
			continue // that thread has ended
		default:
			// A kernel without CONFIG_PROC_CHILDREN, or a list too long.
			return childrenByScan(pid)
		}
		for _, field := range strings.Fields(string(data)) {
			id, err := positive(field)
			if err != nil {
				return childrenByScan(pid)
			}
			children = append(children, id)
		}
	}
	slices.Sort(children)
	return slices.Compact(children), nil
}

func hasChildrenFiles() bool {
	return unix.Access("/proc/thread-self/children", unix.R_OK) == nil
}

// childrenByScan looks at the parent of every process.
func childrenByScan(pid int) ([]int, error) {
	parents, err := parents()
	if err != nil {
		return nil, err
	}
	var children []int
	for child, parent := range parents {
		if parent == pid {
			children = append(children, child)
		}
	}
	slices.Sort(children)
	return children, nil
}

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
// before those it begot. What forks meanwhile may be missed: repeat the call
// until it returns nothing new, once whatever follows forks is in place. A
// process whose parent has ended belongs to another parent and is not found.
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
