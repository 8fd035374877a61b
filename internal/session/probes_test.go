// SPDX-License-Identifier: Apache-2.0

package session

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/phasetrace/phasetrace/internal/testenv"
	"github.com/phasetrace/phasetrace/internal/usdt"
)

// probes is what the kernel has put into a process, read from its memory.
type probes struct {
	t      testing.TB
	pid    int
	places []place // of markers
	nops   []byte  // the first bytes there when nobody traced
}

// place is where a site is probed in a process, and its semaphore.
type place struct{ code, semaphore uint64 }

// look finds the sites of a file in a process that maps it and that nobody
// traces.
func look(t testing.TB, pid int, path string) *probes {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := usdt.Read(f, st.Size())
	if err != nil {
		t.Fatal(err)
	}
	p := &probes{t: t, pid: pid}
	for _, s := range parsed.Sites {
		at, _ := testenv.Without(t).Rewriting().Place(s.Offset, s.Nop)
		p.places = append(p.places, place{address(t, pid, path, at, "x"), address(t, pid, path, s.RefCtr, "rw")})
	}
	p.nops, _ = p.read()
	return p
}

// address is where an offset of a file is mapped, with some permissions.
func address(t testing.TB, pid int, path string, offset uint64, perms string) uint64 {
	t.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var from, to, at uint64
		var has, dev string
		var inode uint64
		if _, err := fmt.Sscanf(lines.Text(), "%x-%x %s %x %s %d", &from, &to, &has, &at, &dev, &inode); err != nil {
			continue
		}
		if strings.HasSuffix(lines.Text(), path) && strings.ContainsAny(has, perms) && (perms == "x" || strings.HasPrefix(has, "rw")) &&
			offset >= at && offset-at < to-from {
			return from + offset - at
		}
	}
	t.Fatalf("offset %#x of %s is not mapped %s", offset, path, perms)
	return 0
}

// read returns the first byte of each place and the semaphores.
func (p *probes) read() (code []byte, semaphores []uint16) {
	p.t.Helper()
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", p.pid))
	if err != nil {
		p.t.Fatal(err)
	}
	defer mem.Close()
	for _, at := range p.places {
		var b [2]byte
		if _, err := mem.ReadAt(b[:1], int64(at.code)); err != nil {
			p.t.Fatal(err)
		}
		code = append(code, b[0])
		if _, err := mem.ReadAt(b[:], int64(at.semaphore)); err != nil {
			p.t.Fatal(err)
		}
		semaphores = append(semaphores, binary.LittleEndian.Uint16(b[:]))
	}
	return code, semaphores
}

// attached reports whether every site is probed, once.
func (p *probes) attached() bool {
	code, semaphores := p.read()
	for i := range code {
		if code[i] == p.nops[i] || semaphores[i] == 0 {
			return false
		}
	}
	return true
}

// gone reports whether the process is as if nobody had ever traced it.
func (p *probes) gone() bool {
	code, semaphores := p.read()
	for i := range code {
		if code[i] != p.nops[i] || semaphores[i] != 0 {
			return false
		}
	}
	return true
}

// mustBeGone fails the test unless nothing is left in the process soon: the
// kernel cleans up behind a tracer that was killed in its own time.
func (p *probes) mustBeGone() {
	p.t.Helper()
	for end := time.Now().Add(10 * time.Second); !p.gone(); {
		if time.Now().After(end) {
			code, semaphores := p.read()
			p.t.Fatalf("probes are left: code %x (was %x), semaphores %d", code, p.nops, semaphores)
		}
	}
}
