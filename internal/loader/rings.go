// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/phasetrace/phasetrace/bpf"
	"github.com/phasetrace/phasetrace/internal/clock"
)

// Layout of a ring, bpf/ring.h.
const (
	ringData     = 4096
	ringOverhang = 8192
	lengthSize   = 8 // of the word in front of a record
)

const (
	// maxRings bounds the memory on machines with many CPUs, which then share
	// rings.
	maxRings = 64
	// minRingBytes is the least that a CPU gets by default.
	minRingBytes = 1 << 20
	// maxOldRingBytes is the largest ring, a power of two, that fits into a value
	// of an array before Linux 6.0: KMALLOC_MAX_SIZE, 4 MiB at least. Kernels
	// without sleepable uprobes count as older.
	maxOldRingBytes = 2 << 20
	// clockSlack, in ns, is more than the clocks that BPF and user space read can
	// differ.
	clockSlack = 2000
	// freeBytes is how much is read before the room is given back: each time
	// costs a cache miss on both sides.
	freeBytes = 64 << 10
	// rewindBytes is how far into a ring records lie before the reader sets it back.
	// minRewindRing is the smallest ring for which that is worth it.
	rewindBytes   = 64 << 10
	minRewindRing = 1 << 20
)

// ringLayout is the number and size of the rings.
type ringLayout struct {
	count int // a power of two
	bytes int // of one, a power of two
}

// layoutFor divides total bytes over the rings of cpus; 0 means the default.
func layoutFor(total, cpus int) ringLayout {
	count := min(1<<bits.Len(uint(max(cpus, 1)-1)), maxRings)
	least := os.Getpagesize()
	if total == 0 {
		total, least = DefaultRingBytes, minRingBytes
	}
	return ringLayout{count: count, bytes: max(1<<(bits.Len(uint(total/count))-1), least)}
}

// onlineCPUs is how many CPUs programs may run on: one more than the highest that
// is online. This process may be limited to fewer.
func onlineCPUs() int {
	text, err := os.ReadFile("/sys/devices/system/cpu/online") // such as 0-3,6
	if err != nil {
		return runtime.NumCPU()
	}
	last := strings.TrimSpace(string(text))
	last = last[strings.LastIndexAny(last, ",-")+1:]
	highest, err := strconv.Atoi(last)
	if err != nil {
		return runtime.NumCPU()
	}
	return max(highest+1, runtime.NumCPU())
}

// stride is the size of one ring in the map.
func (l ringLayout) stride() int { return ringData + l.bytes + ringOverhang }

// rings is the reader's side of the rings of all CPUs. It is not safe for
// concurrent use.
type rings struct {
	memory []byte // mapped
	rings  []cpuRing
	now    func() int64 // ns, CLOCK_MONOTONIC
}

// cpuRing is one ring. Positions grow, until the ring is set back; data holds the
// ring and what hangs over its end.
type cpuRing struct {
	head, tail *uint64 // shared with the kernel
	data       []byte
	mask       uint64
	window     uint64 // how far into the ring records lie before it is set back; 0: never

	pos   uint64 // handed out up to here
	freed uint64 // what *tail says
	limit uint64 // *head when the pass began

	next []byte // the record to be handed out next, nil if none is available in this pass
	time int64  // of next

	// aside has copies of records before pos that are too young to be handed out, the
	// first of them from taken on. They are in the way of setting the ring back.
	aside []byte
	taken int

	// What was reserved later than `floor` lies at pos or behind it: at that
	// time no record at pos had been reserved. markTime and mark will say the
	// same as soon as mark has been reached.
	floor    int64
	markTime int64
	mark     uint64
}

// mapRings maps the rings into memory.
func mapRings(m *ebpf.Map, l ringLayout) (*rings, error) {
	page := os.Getpagesize()
	size := (l.stride()*l.count + page - 1) &^ (page - 1)
	memory, err := unix.Mmap(m.FD(), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map the rings: %w", err)
	}
	return newRings(memory, l), nil
}

func newRings(memory []byte, l ringLayout) *rings {
	r := &rings{memory: memory, now: clock.Monotonic, rings: make([]cpuRing, l.count)}
	for i := range r.rings {
		one := memory[i*l.stride() : (i+1)*l.stride()]
		r.rings[i] = cpuRing{
			head: (*uint64)(unsafe.Pointer(&one[unsafe.Offsetof(bpf.PhasetraceRingHeader{}.Head)])),
			tail: (*uint64)(unsafe.Pointer(&one[unsafe.Offsetof(bpf.PhasetraceRingHeader{}.Tail)])),
			data: one[ringData:],
			mask: uint64(l.bytes - 1),
		}
		if l.bytes >= minRewindRing {
			r.rings[i].window = rewindBytes
		}
	}
	return r
}

func (r *rings) close() error { return unix.Munmap(r.memory) }

// read hands out the records that were made before the call, at most `most`, each
// thread's in order and all by time as far as they have arrived. It returns their
// number. A record is valid until handle returns.
//
// A thread reads the clock for a record after it has committed the one before.
// So what a thread made before a record that is older than `until`, taken
// before any ring is looked at, is in a ring by then; merging by time hands it
// out first. A record that is reserved and not committed (its program was
// preempted) hides those behind it, all of which are younger than the ring's
// floor: nothing younger than that is handed out.
func (r *rings) read(most int, handle func([]byte)) (int, error) {
	n, err := r.merge(r.now()-clockSlack, most, handle)
	for i := range r.rings {
		r.rings[i].rewind(r.now)
	}
	return n, err
}

// drain hands out everything that is left, once nothing produces records any
// more.
func (r *rings) drain(handle func([]byte)) error {
	for {
		n, err := r.merge(math.MaxInt64, math.MaxInt, handle)
		if err != nil || n == 0 {
			return err
		}
	}
}

// drainNow hands out what there is when it is called: there are producers still.
func (r *rings) drainNow(handle func([]byte)) error {
	_, err := r.merge(math.MaxInt64, math.MaxInt, handle)
	return err
}

func (r *rings) merge(until int64, most int, handle func([]byte)) (n int, err error) {
	for i := range r.rings {
		r.rings[i].begin(until)
	}
	for i := range r.rings {
		if until, err = r.rings[i].peek(until); err != nil {
			return 0, err
		}
	}
	for err == nil && n < most {
		first, rest := r.oldest()
		if first == nil || first.time >= until {
			break
		}
		for err == nil && n < most && first.next != nil && first.time < until && first.time <= rest {
			handle(first.next)
			n++
			first.release()
			until, err = first.peek(until)
		}
	}
	for i := range r.rings {
		r.rings[i].free()
	}
	return n, err
}

// oldest returns the ring with the oldest next record, and the time of the
// oldest in the others.
func (r *rings) oldest() (first *cpuRing, rest int64) {
	rest = math.MaxInt64
	for i := range r.rings {
		c := &r.rings[i]
		switch {
		case c.next == nil:
		case first == nil:
			first = c
		case c.time < first.time:
			first, rest = c, first.time
		default:
			rest = min(rest, c.time)
		}
	}
	return first, rest
}

// begin looks at the ring for a pass that began at time now.
func (c *cpuRing) begin(now int64) {
	c.limit = atomic.LoadUint64(c.head)
	if c.pos >= c.mark {
		c.floor, c.markTime, c.mark = c.markTime, now, c.limit
	}
}

var errRing = errors.New("a ring holds what no program wrote: a defect of phasetrace")

// peek finds the next record. until is the time up to which records may be
// handed out; it comes back lower when this ring hides some.
func (c *cpuRing) peek(until int64) (int64, error) {
	next, hidden, err := c.first()
	if c.next = next; hidden {
		if c.pos >= c.mark {
			until = min(until, c.markTime)
		} else {
			until = min(until, c.floor)
		}
	}
	if c.taken < len(c.aside) {
		c.next = c.asideNext()
	}
	if c.next != nil {
		c.time = int64(binary.LittleEndian.Uint64(c.next))
	}
	return until, err
}

// first returns the record at pos: nil if there is none, and hidden if one is
// reserved but not committed.
func (c *cpuRing) first() (record []byte, hidden bool, err error) {
	if c.pos >= c.limit {
		return nil, false, nil
	}
	at := c.pos & c.mask
	length := atomic.LoadUint64((*uint64)(unsafe.Pointer(&c.data[at])))
	if length == 0 {
		return nil, true, nil
	}
	if length < uint64(smallestRecord) || length > ringOverhang-lengthSize {
		return nil, false, fmt.Errorf("%w: length %d", errRing, length)
	}
	begin := at + lengthSize
	return c.data[begin : begin+length : begin+length], false, nil
}

// release gives up the record that was handed out.
func (c *cpuRing) release() {
	if c.taken < len(c.aside) {
		c.taken += lengthSize + len(c.next)
		return
	}
	c.pass(len(c.next))
	if c.pos-c.freed >= freeBytes {
		c.free()
	}
}

// pass moves over a record of that length at pos. Its memory must be zero before
// the kernel may use it again.
func (c *cpuRing) pass(length int) {
	size := uint64(lengthSize+length+7) &^ 7
	at := c.pos & c.mask
	clear(c.data[at : at+size])
	c.pos += size
}

// asideNext is the next record that was set aside.
func (c *cpuRing) asideNext() []byte {
	begin := c.taken + lengthSize
	end := begin + int(binary.LittleEndian.Uint64(c.aside[c.taken:]))
	return c.aside[begin:end:end]
}

// setAside copies the record at pos and passes over it.
func (c *cpuRing) setAside(record []byte) {
	if c.taken == len(c.aside) || c.taken > maxBehind {
		n := copy(c.aside, c.aside[c.taken:])
		c.aside, c.taken = c.aside[:n], 0
	}
	c.aside = binary.LittleEndian.AppendUint64(c.aside, uint64(len(record)))
	c.aside = append(c.aside, record...)
	c.pass(len(record))
}

func (c *cpuRing) free() {
	if c.freed != c.pos {
		c.freed = c.pos
		atomic.StoreUint64(c.tail, c.pos)
	}
}

const (
	// maxAside bounds the records that are set aside at once: a program that makes
	// them faster is not caught up with.
	maxAside = 64
	// maxBehind is how much may be unread, in bytes, for that to be tried.
	maxBehind = 16 << 10
)

// rewind sets a ring back to where its memory begins, if all of it has been read:
// programs then write where the memory is in their cache, and do not push what the
// traced program has there out of it. What is too young to be handed out is copied
// for that.
func (c *cpuRing) rewind(now func() int64) {
	begin := c.pos &^ c.mask
	if c.window == 0 || c.pos-begin < c.window || atomic.LoadUint64(c.head)-c.pos > maxBehind {
		return
	}
	for range maxAside {
		at := now()
		c.limit = atomic.LoadUint64(c.head)
		record, hidden, err := c.first()
		switch {
		case hidden || err != nil: // the next pass tells
			return
		case record != nil:
			if c.setAside(record); c.pos&^c.mask != begin {
				return // it has gone round by itself
			}
			continue
		}
		c.free()
		if !atomic.CompareAndSwapUint64(c.head, c.pos, begin) {
			continue
		}
		// Nothing was reserved until then. A program that reserves from now on sees
		// a tail ahead of its head for a moment.
		c.pos, c.freed = begin, begin
		atomic.StoreUint64(c.tail, begin)
		c.floor, c.markTime, c.mark = at, at, begin
		return
	}
}
