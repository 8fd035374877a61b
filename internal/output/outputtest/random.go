// SPDX-License-Identifier: Apache-2.0

package outputtest

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/phasetrace/phasetrace/internal/gpu"
	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// randomNames are few, so that limits and paths coincide: two look the same in
// UTF-8, and one is the name of the phases beyond a limit.
var randomNames = []string{"step", "load", "a\xff", "a\xfe", recorder.OtherName, "東京", "\x1b[2J", "a", "b", "c", "d", "e"}

// Random is a session of about n records, made from a seed: threads and lanes,
// keyed scopes, synthetic boundaries, attributes, readings of two devices, one of
// which nobody knew at the start, more names than the limits allow, losses and
// defects. Its summary is that of Typical's kind.
func Random(seed uint64, n int) *Session {
	r := &random{Rand: rand.New(rand.NewPCG(seed, seed)), open: map[stackKey][]openScope{}}
	r.s = newSession("s", "node7", &stream.Process{PID: 4242, HostPID: 94242, ContainerPID: 7, Comm: "train", Exe: "/opt/train"})
	r.s.recorder = recorder.New(recorder.Limits{MaxChildren: 5, MaxPaths: 200})
	r.s.Start.Devices = devices()[:1]
	for len(r.s.Records) < n {
		r.s.after(time.Duration(r.IntN(100_000)))
		r.step()
	}
	r.s.summarise()
	return r.s
}

type random struct {
	*rand.Rand
	s    *Session
	open map[stackKey][]openScope
}

type stackKey struct {
	tid  int
	lane string
}

type openScope struct {
	token recorder.Token
	key   stream.Key
	keyed bool
}

// step appends something.
func (r *random) step() {
	at := stackKey{4242 + r.IntN(20), []string{"", "", "requests"}[r.IntN(3)]}
	thread := r.s.thread(at.tid, fmt.Sprintf("worker %d", at.tid))
	thread.HostTID, thread.ContainerTID = 90_000+at.tid, at.tid-4000
	stack := r.open[at]
	switch r.IntN(20) {
	case 0:
		r.s.read(r.IntN(2), uint64(r.Int64N(80<<30)))
	case 1:
		r.s.Records = append(r.s.Records, &stream.Loss{Time: r.s.now, Unix: unix(r.s.now), Thread: thread, Count: r.Uint64N(100) + 1})
	case 3:
		r.retitle()
	case 2:
		r.s.Records = append(r.s.Records, &stream.Orphan{Time: r.s.now, Unix: unix(r.s.now), Thread: thread, Reason: "untraced"})
	case 4:
		if len(stack) > 1 {
			r.s.violate(thread, stack[0].token, "unwound")
		}
	default:
		if len(stack) == 0 || len(stack) < 6 && r.IntN(2) == 0 {
			r.enter(at, thread)
		} else {
			r.exit(at, thread)
		}
	}
}

// retitle gives the process another title, or none.
func (r *random) retitle() {
	before, now := r.s.process, *r.s.process
	now.Title = []string{"", "train: epoch 1", "train: epoch 2"}[r.IntN(3)]
	if now.Title == before.Title {
		return
	}
	r.s.process = &now
	for tid, t := range r.s.threads {
		other := *t
		other.Process = &now
		r.s.threads[tid] = &other
	}
	r.s.Records = append(r.s.Records, &stream.ProcessChange{Time: r.s.now, Unix: unix(r.s.now), Process: &now, Titled: true, Before: before.Title})
}

func (r *random) enter(at stackKey, thread *stream.Thread) {
	attributes := ""
	if r.IntN(3) == 0 {
		attributes = fmt.Sprintf(`{"n":%d,"x":0.1}`, r.Uint64())
	}
	scope := openScope{keyed: r.IntN(10) == 0, key: stream.KeyOf(r.Uint64(), uint64(r.Uint32()))}
	token, b := r.s.enter(thread, at.lane, randomNames[r.IntN(len(randomNames))], attributes)
	if b.Keyed = scope.keyed; b.Keyed {
		b.Key = scope.key
	}
	r.measure(b)
	scope.token = token
	r.open[at] = append(r.open[at], scope)
}

func (r *random) exit(at stackKey, thread *stream.Thread) {
	stack := r.open[at]
	scope := stack[len(stack)-1]
	r.open[at] = stack[:len(stack)-1]
	b := r.s.exit(thread, scope.token)
	if b.Keyed = scope.keyed; b.Keyed {
		b.Key = scope.key
		b.ExitThread = r.s.thread(1, "other")
	}
	if r.IntN(4) == 0 {
		b.ExitAttributes = fmt.Appendf(nil, `{"rc":%d}`, r.Int32())
	}
	if r.IntN(10) == 0 {
		b.Doubt = stream.DoubtOverlapping
	}
	if r.IntN(10) == 0 {
		b.Marker, b.Synthetic = nil, stream.ReasonThreadExit
	}
	if b.HasCounters = r.IntN(2) == 0; b.HasCounters {
		b.Counters = stream.Counters{VoluntarySwitches: r.Uint32(), MajorFaults: 1}
	}
	r.measure(b)
	for i := range b.GPU {
		g := &b.GPU[i]
		if g.Change.Known = r.IntN(2) == 0; g.Change.Known {
			g.Change.N = r.Int64() - r.Int64()
			g.ChangeLow, g.ChangeHigh = g.Change.N-r.Int64N(1<<30), g.Change.N+r.Int64N(1<<30)
			g.ChangeDoubt = gpu.Doubt(r.IntN(1 << 5))
		}
		if g.Peak.Known = r.IntN(2) == 0; g.Peak.Known {
			g.Peak.N, g.Samples = r.Uint64N(80<<30), 3
		}
	}
	if b.Resident.ChangeKnown = r.IntN(2) == 0; b.Resident.ChangeKnown {
		b.Resident.Change = r.Int64N(1<<40) - 1<<39
	}
}

// measure gives a boundary readings, or none.
func (r *random) measure(b *stream.Boundary) {
	if b.Resident.Known = r.IntN(3) > 0; b.Resident.Known {
		b.Resident.Bytes, b.Resident.Error = r.Uint64N(1<<40), r.Uint64N(1<<20)
	}
	if r.IntN(2) == 0 {
		return
	}
	b.GPU = []gpu.Reading{reading(0, r.Uint64N(80<<30)), {Device: 1, Status: gpu.StatusTimeout, Age: r.Int64() - r.Int64(), Latency: r.Int64()}}
	b.GPU[0].Doubt = gpu.Doubt(r.IntN(1 << 5))
	if b.GPU[0].After.Known = r.IntN(2) == 0; !b.GPU[0].After.Known {
		b.GPU[0].After, b.GPU[0].AfterAge = gpu.Value{}, 0
	}
	b.ProcessGPU = []gpu.ProcessReading{{Status: gpu.StatusOK, Used: gpu.Bytes(r.Uint64()), Age: -5}, {}}
}
