// SPDX-License-Identifier: Apache-2.0

package semaphore

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/phasetrace/phasetrace/internal/probe"
	"github.com/phasetrace/phasetrace/internal/process"
)

// kernel is what Linux does with the breakpoints and semaphores of one file in
// one process (kernel/events/uprobes.c).
type kernel struct {
	file      layout
	maps      []*mapping // in the order of addresses
	attached  bool
	delayed   map[Site]bool // uprobes that wait for a mapping to count in, each once
	negatives int           // times it refused to count below zero
}

// layout is a file: the probes, and where its segments lie.
type layout struct {
	sites    []Site
	size     uint64
	segments []segment
}

type segment struct {
	offset, size, vaddr uint64 // offset and size in whole pages
	perms               string
	relro               bool // write-protected once relocated
	cleared             bool // what lies behind its part of the file is zeroed when it is mapped
}

type mapping struct {
	process.Mapping
	memory []byte
	base   uint64 // load bias of the copy it belongs to
	relro  bool
}

const page = 4096

// Both have two probes with a semaphore each, and a third that shares the second's.
var (
	ordinary = layout{size: 3 * page, sites: sites(0x1100, 0x1100, 0x3010, 0x2010), segments: []segment{
		{0, page, 0, "r--p", false, false}, {page, page, page, "r-xp", false, false}, {2 * page, page, 3 * page, "rw-p", false, false},
	}}
	// All of it in one page of the file, as lld does with a small program.
	tight = layout{size: page, sites: sites(0x1100, 0x100, 0x3010, 0x10), segments: []segment{
		{0, page, 0, "r--p", false, false}, {0, page, page, "r-xp", false, false},
		{0, page, 2 * page, "rw-p", true, false}, {0, page, 3 * page, "rw-p", false, false},
	}}
	// Code in two mappings, and the data apart, as lld does with small code.
	shared = layout{size: 2 * page, sites: sites(0x1100, 0x100, 0x2010, 0x1010), segments: []segment{
		{0, page, 0, "r--p", false, false}, {0, page, page, "r-xp", false, false}, {page, page, 2 * page, "rw-p", false, false},
	}}
	// The end of RELRO and the data in one, and the end zeroed, as mold does.
	cleared = layout{size: 3 * page, sites: sites(0x1100, 0x1100, 0x4010, 0x2010), segments: []segment{
		{0, page, 0, "r--p", false, false}, {page, page, page, "r-xp", false, false},
		{2 * page, page, 3 * page, "rw-p", true, true}, {2 * page, page, 4 * page, "rw-p", false, false},
	}}
)

func sites(location, offset, semaphore, refCtr uint64) []Site {
	return []Site{
		{location, offset, semaphore, refCtr},
		{location + 8, offset + 8, semaphore + 2, refCtr + 2},
		{location + 16, offset + 16, semaphore + 2, refCtr + 2},
	}
}

func (k *kernel) find(address uint64) *mapping {
	for _, m := range k.maps {
		if address >= m.Start && address < m.End {
			return m
		}
	}
	return nil
}

func (k *kernel) ReadMemory(b []byte, at uint64) error {
	m := k.find(at)
	if m == nil {
		return fmt.Errorf("%#x is not mapped", at)
	}
	copy(b, m.memory[at-m.Start:])
	return nil
}

func (k *kernel) WriteMemory(b []byte, at uint64) error {
	m := k.find(at)
	if m == nil || m.Perms[1] != 'w' {
		return fmt.Errorf("%#x cannot be written", at)
	}
	copy(m.memory[at-m.Start:], b)
	return nil
}

// word is the counter at an offset of a mapping.
func (m *mapping) word(offset uint64) []byte { return m.memory[offset-m.Offset:][:2] }

// place is find_ref_ctr_vma.
func (k *kernel) place(refCtr uint64) *mapping {
	for _, m := range k.maps {
		if _, ok := at(m.Mapping, refCtr); ok && m.Perms[1] == 'w' {
			return m
		}
	}
	return nil
}

// update is update_ref_ctr; it reports whether the breakpoint may be changed.
func (k *kernel) update(s Site, by int) bool {
	m := k.place(s.RefCtr)
	if m == nil {
		k.delayed[s] = by > 0
		return true
	}
	w := m.word(s.RefCtr)
	n := int(binary.LittleEndian.Uint16(w)) + by
	if n < 0 {
		k.negatives++
		return false
	}
	binary.LittleEndian.PutUint16(w, uint16(n))
	return true
}

// install is install_breakpoint for all probes of a mapping.
func (k *kernel) install(m *mapping) {
	for _, s := range k.file.sites {
		if address, ok := at(m.Mapping, s.Offset); ok && m.memory[address-m.Start] != 0xcc && k.update(s, 1) {
			m.memory[address-m.Start] = 0xcc
		}
	}
}

func (k *kernel) attach() {
	k.attached = true
	for _, m := range k.maps {
		if m.Perms[1] != 'w' {
			k.install(m)
		}
	}
}

func (k *kernel) detach() {
	k.attached = false
	for _, m := range k.maps {
		for _, s := range k.file.sites {
			if address, ok := at(m.Mapping, s.Offset); ok && m.memory[address-m.Start] == 0xcc && k.update(s, -1) {
				m.memory[address-m.Start] = 0x90
			}
		}
	}
}

// load maps a copy of the file, segment by segment.
func (k *kernel) load(base uint64) {
	for _, seg := range k.file.segments {
		m := &mapping{base: base, relro: seg.relro, memory: bytes.Repeat([]byte{0x90}, int(seg.size)),
			Mapping: process.Mapping{Start: base + seg.vaddr, End: base + seg.vaddr + seg.size, Offset: seg.offset, Perms: seg.perms}}
		for _, s := range k.file.sites {
			if _, ok := at(m.Mapping, s.RefCtr); ok {
				copy(m.word(s.RefCtr), []byte{0, 0})
			}
		}
		k.maps = append(k.maps, m)
		slices.SortFunc(k.maps, func(a, b *mapping) int { return cmp.Compare(a.Start, b.Start) })
		k.mapped(m)
		if seg.cleared {
			clear(m.memory)
		}
	}
}

// mapped is uprobe_mmap.
func (k *kernel) mapped(m *mapping) {
	if m.Perms[1] == 'w' {
		for s, waits := range k.delayed {
			if _, ok := at(m.Mapping, s.RefCtr); ok && waits {
				k.delayed[s] = false
				w := m.word(s.RefCtr)
				binary.LittleEndian.PutUint16(w, binary.LittleEndian.Uint16(w)+1)
			}
		}
		return
	}
	if k.attached {
		k.install(m)
	}
}

// seal write-protects what a dynamic linker does.
func (k *kernel) seal() {
	for _, m := range k.maps {
		if m.relro {
			m.Perms = "r--p"
		}
	}
}

func (k *kernel) unload(base uint64) {
	k.maps = slices.DeleteFunc(k.maps, func(m *mapping) bool { return m.base == base })
}

func (k *kernel) view(exact bool) File {
	f := File{Arch: probe.AMD64, Sites: k.file.sites, Content: bytes.NewReader(bytes.Repeat([]byte{0x90}, int(k.file.size))), Exact: exact}
	for _, m := range k.maps {
		f.Mappings = append(f.Mappings, m.Mapping)
	}
	return f
}

// left is what is not as it was before anybody attached.
func (k *kernel) left() (out []string) {
	for _, c := range counters(k.view(false).Mappings, k.file.sites) {
		for _, address := range c.read {
			if n, _ := value(k, address); n != 0 {
				out = append(out, fmt.Sprintf("the semaphore at %#x is %d", address, n))
			}
		}
	}
	for _, m := range k.maps {
		if bytes.IndexByte(m.memory, 0xcc) >= 0 {
			out = append(out, fmt.Sprintf("breakpoints from %#x on", m.Start))
		}
	}
	if k.negatives > 0 {
		out = append(out, fmt.Sprintf("%d times below zero", k.negatives))
	}
	return out
}

func newKernel(l layout) *kernel { return &kernel{file: l, delayed: make(map[Site]bool)} }

const (
	low  = 0x10_0000
	high = 0x20_0000
)

// Without Settle the model does what Linux does: it leaves things behind.
func TestLinuxLeavesThingsBehind(t *testing.T) {
	for name, story := range map[string]func(k *kernel){
		"attached before RELRO is sealed": func(k *kernel) { k.load(high); k.attach(); k.seal(); k.detach() },
		"mapped while attached":           func(k *kernel) { k.attach(); k.load(high); k.seal(); k.detach() },
		"loaded again": func(k *kernel) {
			k.load(high)
			k.seal()
			k.attach()
			k.load(low)
			k.seal()
			k.detach()
		},
	} {
		for file, l := range map[string]layout{"ordinary": ordinary, "tight": tight, "shared": shared, "cleared": cleared} {
			k := newKernel(l)
			story(k)
			fault := len(k.left()) > 0
			want := file != "ordinary" || name == "loaded again"
			if file == "shared" && name == "attached before RELRO is sealed" {
				want = false // it has none
			}
			if fault != want {
				t.Errorf("%s, %s: left behind: %v", name, file, k.left())
			}
		}
	}
}

// Whatever happens to a process, in whatever order: after Settle the program
// sees its probes enabled where it can, and when all is over nothing is left.
func TestNothingIsLeftBehind(t *testing.T) {
	for name, l := range map[string]layout{"ordinary": ordinary, "tight": tight, "shared": shared, "cleared": cleared} {
		for seed := range uint64(3000) {
			story := play(t, name, l, seed)
			if t.Failed() {
				t.Fatalf("%s, seed %d: %v", name, seed, story)
			}
		}
	}
}

// play lets random things happen and returns what did.
func play(t *testing.T, name string, l layout, seed uint64) (story []string) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	k, loaded, twice := newKernel(l), map[uint64]bool{}, false
	settle := func(last bool) Result {
		twice = twice || len(loaded) > 1
		res, err := Settle(k, k.view(twice), last)
		if err != nil {
			t.Errorf("settle: %v", err)
		}
		return res
	}
	tell := func(what string) { story = append(story, what) }
	for range 12 {
		base := uint64(low)
		if r.IntN(2) == 0 {
			base = high
		}
		switch {
		case r.IntN(4) == 0 && !k.attached:
			tell("attach")
			k.attach()
		case r.IntN(6) == 0 && k.attached:
			tell("detach")
			settle(true)
			k.detach()
		case !loaded[base]:
			tell(fmt.Sprintf("load %#x", base))
			k.load(base)
			loaded[base] = true
			if r.IntN(3) > 0 {
				tell("seal")
				k.seal()
			}
		case r.IntN(3) == 0:
			tell(fmt.Sprintf("unload %#x", base))
			k.unload(base)
			delete(loaded, base)
		default:
			tell("seal")
			k.seal()
		}
		// Somebody looks after every load and unload, but not before a dynamic
		// linker goes on.
		checkSettled(t, k, settle(false))
	}
	settle(true)
	k.detach()
	if left := k.left(); len(left) > 0 {
		t.Errorf("%s: left behind: %v", name, left)
	}
	return story
}

// checkSettled holds what Settle says against the process.
func checkSettled(t *testing.T, k *kernel, r Result) {
	t.Helper()
	view := k.view(false)
	if got := Look(view.Mappings, view.Sites); got != r.State {
		t.Errorf("state %v, settled %v", got, r.State)
	}
	off := 0
	for _, c := range counters(view.Mappings, view.Sites) {
		n, err := c.breakpoints(k, view)
		if err != nil {
			t.Error(err)
		}
		zero := false
		for _, address := range c.read {
			v, _ := value(k, address)
			zero = zero || v == 0
			if r.State == Right && v != n {
				t.Errorf("the semaphore at %#x is %d with %d breakpoints", address, v, n)
			}
		}
		if n > 0 && zero {
			off++
		}
	}
	if off != r.Off {
		t.Errorf("%d semaphores are off, told %d", off, r.Off)
	}
}
