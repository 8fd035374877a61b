// SPDX-License-Identifier: Apache-2.0

package session

import (
	"debug/elf"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/phasetrace/phasetrace/internal/probe"
	"github.com/phasetrace/phasetrace/internal/process"
	"github.com/phasetrace/phasetrace/internal/usdt"
)

// mustBeClean wants nothing of a session that is over in a process that lives on:
// the code of the test's own files is as they have it, and no semaphore is raised.
// Where another session of this test still traces, nothing can be said.
func mustBeClean(t testing.TB, pid int) {
	t.Helper()
	if _, links := openFiles(t); links > 0 {
		return
	}
	proc, err := process.Open(pid)
	if err != nil {
		return // it has ended
	}
	defer proc.Close()
	modules, err := proc.Modules()
	if err != nil {
		return
	}
	for i := range modules {
		m := &modules[i]
		if !strings.HasPrefix(m.Path, os.TempDir()+"/") {
			continue
		}
		for _, what := range leftIn(proc, m) {
			t.Errorf("process %d, %s: %s", pid, m.Path, what)
		}
	}
}

// leftIn says what is in a process's mappings of a file that its markers did not
// put there. Files that are not as they were mapped tell nothing.
func leftIn(proc *process.Process, m *process.Module) (out []string) {
	f, err := m.Open()
	if err != nil {
		return nil
	}
	defer f.Close()
	content, err := os.ReadFile(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	if err != nil {
		return nil
	}
	from, to := semaphoresIn(f)
	nops := longNopsIn(f)
	for _, at := range m.Mappings {
		if at.Offset >= uint64(len(content)) {
			continue
		}
		want := content[at.Offset:min(at.Offset+at.End-at.Start, uint64(len(content)))]
		got := make([]byte, len(want))
		if len(want) == 0 || proc.ReadMemory(got, at.Start) != nil {
			continue // it has ended, or has unmapped the file
		}
		if at.Executable() {
			out = append(out, changed(at.Offset, got, want, nops)...)
		}
		if !at.Executable() && strings.HasPrefix(at.Perms, "rw") {
			for i := max(from, at.Offset); i < min(to, at.Offset+uint64(len(got))); i++ {
				if got[i-at.Offset] != want[i-at.Offset] {
					out = append(out, fmt.Sprintf("the semaphore at offset %#x is raised", i))
				}
			}
		}
	}
	return out
}

// changed says what code is not as its file has it. Of a ten-byte nop that it has
// made a call of, Linux puts back the first half: a thread may yet return into the
// other, which in either form is an operand of the nop.
func changed(offset uint64, got, want []byte, nops []uint64) (out []string) {
	const half = 5
	for i := range got {
		if got[i] == want[i] {
			continue
		}
		at := offset + uint64(i)
		if !slices.ContainsFunc(nops, func(nop uint64) bool { return at >= nop+half && at < nop+2*half }) {
			return append(out, fmt.Sprintf("the code at offset %#x is not the file's: % x, want % x", at,
				got[i:min(i+16, len(got))], want[i:min(i+16, len(want))]))
		}
	}
	return out
}

// longNopsIn returns the file offsets of the ten-byte nops of sites.
func longNopsIn(f *os.File) (out []uint64) {
	st, err := f.Stat()
	if err != nil {
		return nil
	}
	parsed, err := usdt.Read(f, st.Size())
	if err != nil {
		return nil
	}
	for _, s := range parsed.Sites {
		switch s.Nop {
		case probe.Nop1Then10:
			out = append(out, s.Offset+1)
		case probe.Nop10:
			out = append(out, s.Offset)
		}
	}
	return out
}

// semaphoresIn returns the file offsets between which the semaphores are.
func semaphoresIn(f *os.File) (from, to uint64) {
	file, err := elf.NewFile(f)
	if err != nil {
		return 0, 0
	}
	if s := file.Section(".probes"); s != nil && s.Type == elf.SHT_PROGBITS {
		return s.Offset, s.Offset + s.FileSize
	}
	return 0, 0
}
