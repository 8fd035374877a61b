// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/phasetrace/phasetrace/bpf"
	"github.com/phasetrace/phasetrace/internal/event"
)

// kernel stands in for the BPF side of rings: it reserves, fills and commits
// as bpf/ring.h does, in steps between which others run.
type kernel struct {
	l      ringLayout
	memory []byte
	clock  int64
}

func newKernel(l ringLayout) *kernel {
	return &kernel{l: l, memory: make([]byte, l.stride()*l.count), clock: 1_000_000}
}

func (k *kernel) word(ring int, offset uint64) *uint64 {
	return (*uint64)(unsafe.Pointer(&k.memory[ring*k.l.stride()+int(offset)]))
}

// reserve returns the place of a record's length, and false when the ring is full.
func (k *kernel) reserve(ring int, size uint64) (uint64, bool) {
	head, tail := k.word(ring, 0), k.word(ring, 2048)
	used := int64(*head - atomic.LoadUint64(tail))
	if used+int64(size) > int64(k.l.bytes) || used < 0 && used+int64(size) > 0 {
		return 0, false
	}
	at := *head
	atomic.StoreUint64(head, at+size)
	return ringData + at&uint64(k.l.bytes-1), true
}

// task is a thread that makes numbered records.
type task struct {
	id, cpu   int
	made      uint64
	step      int // 0: nothing begun; 1: the clock is read; 2: reserved
	time      int64
	at        uint64
	length    int
	abandoned uint64
}

// advance brings a thread one step on. Between two records it may move to
// another CPU, never within one.
func (k *kernel) advance(t *task, rng *rand.Rand) {
	k.clock += int64(rng.IntN(3))
	switch t.step {
	case 0:
		if rng.IntN(4) == 0 {
			t.cpu = rng.IntN(k.l.count)
		}
		k.clock++
		t.time, t.step = k.clock, 1
		t.length = smallestRecord + rng.IntN(300)
	case 1:
		at, ok := k.reserve(t.cpu, uint64(lengthSize+t.length+7)&^7)
		if !ok {
			t.step = 0
			t.abandoned++
			return
		}
		t.at, t.step = at, 2
	case 2:
		record := k.memory[t.cpu*k.l.stride()+int(t.at)+lengthSize:][:t.length]
		for i := range record {
			if record[i] != 0 {
				panic("the reader gave back memory that is not zero")
			}
			record[i] = 0xff // a stale length, if it stays
		}
		binary.LittleEndian.PutUint64(record, uint64(t.time))
		binary.LittleEndian.PutUint64(record[8:], t.made)
		binary.LittleEndian.PutUint64(record[16:], uint64(t.id))
		atomic.StoreUint64(k.word(t.cpu, t.at), uint64(t.length))
		t.made++
		t.step = 0
	}
}

// TestRingsKeepEachThreadsOrder lets threads move between CPUs and be stopped
// in the middle of a record, and the reader come at any time.
func TestRingsKeepEachThreadsOrder(t *testing.T) {
	all := 0 // times that a ring was set back
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 1))
		l := ringLayout{count: 1 << rng.IntN(4), bytes: 4096 << rng.IntN(2)}
		k := newKernel(l)
		r := newRings(k.memory, l)
		rewound := 0
		if rng.IntN(2) == 0 {
			for i := range r.rings {
				r.rings[i].window = uint64(rng.IntN(l.bytes / 2))
			}
		}
		tasks := make([]*task, 1+rng.IntN(6))
		for i := range tasks {
			tasks[i] = &task{id: i}
		}
		run := func(steps int) {
			for range steps {
				k.advance(tasks[rng.IntN(len(tasks))], rng)
			}
		}
		r.now = func() int64 { now := k.clock; run(rng.IntN(20)); return now + clockSlack }
		next := make([]uint64, len(tasks))
		inOrder := func(raw []byte) {
			id, seq := binary.LittleEndian.Uint64(raw[16:]), binary.LittleEndian.Uint64(raw[8:])
			if seq != next[id] {
				t.Fatalf("seed %d: record %d of thread %d, expected %d", seed, seq, id, next[id])
			}
			next[id]++
			run(rng.IntN(3))
		}
		for range 200 {
			run(rng.IntN(60))
			before := r.rings[0].pos
			if _, err := r.read(1+rng.IntN(100), inOrder); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if r.rings[0].pos < before {
				rewound++
			}
		}
		all += rewound
		for _, task := range tasks { // everybody finishes what was begun
			for task.step != 0 {
				k.advance(task, rng)
			}
		}
		run = func(int) {}
		if err := r.drain(inOrder); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		for _, task := range tasks {
			if next[task.id] != task.made {
				t.Fatalf("seed %d: %d of %d records of thread %d came", seed, next[task.id], task.made, task.id)
			}
		}
	}
	if all < 100 {
		t.Errorf("rings were set back %d times only", all)
	}
}

func TestRingsMergeByTime(t *testing.T) {
	l := ringLayout{count: 4, bytes: 4096}
	k := newKernel(l)
	r := newRings(k.memory, l)
	r.now = func() int64 { return k.clock + clockSlack + 1 }
	rng := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		one := &task{cpu: rng.IntN(l.count), step: 1, time: k.clock, length: smallestRecord}
		k.clock += 10
		k.advance(one, rng)
		if one.step == 2 {
			k.advance(one, rng)
		}
	}
	last := int64(0)
	n, err := r.read(1000, func(raw []byte) {
		now := int64(binary.LittleEndian.Uint64(raw))
		if now < last {
			t.Errorf("time %d after %d", now, last)
		}
		last = now
	})
	if err != nil || n != 100 {
		t.Errorf("read %d records, error %v; want 100", n, err)
	}
}

func TestRingsRefuseNonsense(t *testing.T) {
	l := ringLayout{count: 1, bytes: 4096}
	for _, length := range []uint64{1, uint64(smallestRecord) - 1, ringOverhang, 1 << 40} {
		k := newKernel(l)
		r := newRings(k.memory, l)
		*k.word(0, 0) = 128
		*k.word(0, ringData) = length
		if err := r.drain(func([]byte) {}); err == nil {
			t.Errorf("length %d was taken", length)
		}
	}
}

func TestLayout(t *testing.T) {
	for _, c := range []struct {
		total, cpus int
		want        ringLayout
	}{
		{0, 1, ringLayout{1, 32 << 20}},
		{0, 2, ringLayout{2, 16 << 20}},
		{0, 3, ringLayout{4, 8 << 20}},
		{0, 64, ringLayout{64, 1 << 20}},
		{0, 500, ringLayout{64, 1 << 20}},
		{1 << 16, 2, ringLayout{2, 1 << 15}},
		{4096, 8, ringLayout{8, 4096}},
		{64 << 20, 2, ringLayout{2, 32 << 20}},
	} {
		if got := layoutFor(c.total, c.cpus); got != c.want {
			t.Errorf("layoutFor(%d, %d) = %+v, want %+v", c.total, c.cpus, got, c.want)
		}
	}
}

// filled is a ring with records as a target makes them: enters with a name of
// four letters, exits with a token.
func filled(l ringLayout, n int) (*rings, func(), shapes) {
	k := newKernel(l)
	put := func(raw []byte) {
		at, ok := k.reserve(0, uint64(lengthSize+len(raw)+7)&^7)
		if !ok {
			panic("the ring is too small")
		}
		record := k.memory[int(at)+lengthSize:]
		copy(record, raw)
		binary.LittleEndian.PutUint64(record, uint64(k.clock))
		k.clock += 500
		*k.word(0, at) = uint64(len(raw))
	}
	values := payload("spin", 7, ^uint64(0), textAt(32, 4, 0), textAt(0, 0, stringNull))
	enter := wire(bpf.PhasetraceMarkerRecord{Type: uint8(bpf.PhasetraceRecordTypeRECORD_ENTER)}, values...)
	exit := wire(bpf.PhasetraceMarkerRecord{Type: uint8(bpf.PhasetraceRecordTypeRECORD_EXIT), Site: 1}, values[:slotSize]...)
	refill := func() {
		for range n / 2 {
			put(enter)
			put(exit)
		}
	}
	r := newRings(k.memory, l)
	r.now = func() int64 { return k.clock + clockSlack }
	return r, refill, shapes{{known: true, n: 4, strings: 1<<2 | 1<<3}, {known: true, n: 1}}
}

func TestReadingDoesNotAllocate(t *testing.T) {
	r, refill, shapes := filled(ringLayout{count: 2, bytes: 1 << 20}, 1000)
	tr := &Tracer{rings: r, handle: func(event.Event) {}}
	tr.shapes.Store(&shapes)
	tr.deliverFn = tr.deliver
	allocs := testing.AllocsPerRun(20, func() {
		refill()
		if n, err := r.read(MaxBatch, tr.deliverFn); n != 1000 || err != nil {
			t.Fatalf("read %d records, error %v", n, err)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations for 1000 records, want none", allocs)
	}
	if tr.counters.malformed.Load() != 0 {
		t.Error("records were malformed")
	}
}

// BenchmarkRead takes records out of a ring and decodes them. One operation is
// one record.
func BenchmarkRead(b *testing.B) {
	for _, count := range []int{1, 2, 64} {
		b.Run(fmt.Sprintf("rings=%d", count), func(b *testing.B) {
			const batch = 1000
			r, refill, shapes := filled(ringLayout{count: count, bytes: 1 << 20}, batch)
			tr := &Tracer{rings: r, handle: func(event.Event) {}}
			tr.shapes.Store(&shapes)
			tr.deliverFn = tr.deliver
			b.ReportAllocs()
			for i := 0; i < b.N; i += batch {
				b.StopTimer()
				refill()
				b.StartTimer()
				if _, err := r.read(MaxBatch, tr.deliverFn); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
