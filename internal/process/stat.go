// SPDX-License-Identifier: Apache-2.0

package process

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// kernelThreadFlag is PF_KTHREAD of include/linux/sched.h, in field 9 of stat.
const kernelThreadFlag = 0x00200000

// stat is what this package needs of /proc/PID/stat.
type stat struct {
	PID       int
	Comm      string
	State     byte // R, S, D, T, t, Z, X, I, …
	Parent    int
	Kernel    bool
	Threads   int
	StartTime uint64 // clock ticks since boot
	// ChildFaults are the minor page faults of the children that it has waited for,
	// and theirs.
	ChildFaults uint64
}

var errStat = errors.New("malformed stat line")

// parseStat reads a stat line. The name is in parentheses and may itself hold
// any character, closing parentheses and line ends included, so its end is the
// last closing parenthesis.
func parseStat(line []byte) (stat, error) {
	open := bytes.IndexByte(line, '(')
	end := bytes.LastIndexByte(line, ')')
	if open < 2 || end < open {
		return stat{}, errStat
	}
	pid, err := positive(string(bytes.TrimSpace(line[:open])))
	if err != nil {
		return stat{}, errStat
	}
	s := stat{PID: pid, Comm: string(line[open+1 : end])}
	// fields[0] is field 3 of proc(5).
	fields := strings.Fields(string(line[end+1:]))
	if len(fields) < 20 || len(fields[0]) != 1 {
		return stat{}, errStat
	}
	s.State = fields[0][0]
	parent, err1 := strconv.Atoi(fields[1])
	flags, err2 := strconv.ParseUint(fields[6], 10, 64)
	faults, err3 := strconv.ParseUint(fields[8], 10, 64)
	threads, err4 := strconv.Atoi(fields[17])
	start, err5 := strconv.ParseUint(fields[19], 10, 64)
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil || parent < 0 || threads < 0 {
		return stat{}, errStat
	}
	s.Parent, s.Threads, s.StartTime, s.ChildFaults = parent, threads, start, faults
	s.Kernel = flags&kernelThreadFlag != 0
	return s, nil
}

func (s stat) ended() bool { return s.State == 'Z' || s.State == 'X' || s.State == 'x' }

// status is what this package needs of /proc/PID/status.
type status struct {
	Process int // Tgid
	UID     int // effective user id
	NSPIDs  []int
}

// parseStatus reads a status file. Unknown lines are skipped; a known line that
// is malformed is an error. NSpid is absent on kernels without PID namespaces.
func parseStatus(data []byte) (status, error) {
	s := status{UID: -1}
	for line := range bytes.Lines(data) {
		key, value, ok := strings.Cut(strings.TrimRight(string(line), "\n"), ":")
		if !ok {
			continue
		}
		fields := strings.Fields(value)
		var err error
		switch key {
		case "Tgid":
			s.Process, err = fieldAt(fields, 0)
		case "Uid":
			s.UID, err = fieldAt(fields, 1)
		case "NSpid":
			s.NSPIDs = nil
			for i := range fields {
				var id int
				if id, err = fieldAt(fields, i); err != nil {
					break
				}
				s.NSPIDs = append(s.NSPIDs, id)
			}
		}
		if err != nil {
			return status{}, fmt.Errorf("malformed status line %q", key)
		}
	}
	if s.Process == 0 {
		return status{}, errors.New("malformed status: no Tgid line")
	}
	return s, nil
}

func fieldAt(fields []string, i int) (int, error) {
	if i >= len(fields) {
		return 0, strconv.ErrSyntax
	}
	// User ids are 32 bits without a sign.
	n, err := strconv.ParseUint(fields[i], 10, 32)
	return int(n), err
}

func positive(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n == 0 || n > math.MaxInt32 {
		return 0, strconv.ErrRange
	}
	return int(n), nil
}
