// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"github.com/phasetrace/phasetrace/internal/event"
	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// thread is a thread that has hit a site.
type thread struct {
	id *stream.Thread // who it was at its last record, see identity
	// former is who it was before: a process may have several ranks in turn.
	former  *stream.Thread
	key     event.ThreadKey
	process *process
	index   int   // in process.threads
	born    int64 // when its identity was told
	time    int64 // of its last delivered marker
	nextSeq uint64
	gaps    uint32 // number of gaps so far
	program uint32 // what it runs, see event.Marker.Program
	latest  latest
	lanes   []lane         // as many as have been needed
	unused  lane           // what the others are like
	context []contextValue // by number, as many as have been needed
}

func byHostTID(a, b *thread) int { return a.id.HostTID - b.id.HostTID }

// identity is who the thread is now, for a record to keep.
func (th *thread) identity() *stream.Thread {
	if th.id.Process != th.process.id {
		th.follow()
	}
	return th.id
}

// follow updates the identity after that of the process changed.
func (th *thread) follow() {
	before := th.id
	if th.former != nil && th.former.Process == th.process.id {
		th.id, th.former = th.former, before
		return
	}
	id := *before
	id.Process = th.process.id
	th.id, th.former = &id, before
}

// change makes the thread somebody else.
func (th *thread) change(how func(*stream.Thread)) {
	id := *th.identity()
	how(&id)
	th.id, th.former = &id, nil
}

// rename gives the thread another name, if it is one.
func (th *thread) rename(name string) {
	if th.id.Name != name {
		th.change(func(id *stream.Thread) { id.Name = name })
	}
}

// restart makes the lanes as they are when the thread runs a new program: the
// kernel starts counting again.
func (th *thread) restart(time int64) {
	th.unused = lane{time: time, gaps: th.gaps}
	for i := range th.lanes {
		ln := &th.lanes[i]
		ln.count = kernelCount{}
		ln.time, ln.gaps, ln.unsure = time, th.gaps, false
		ln.witnesses = nil
	}
	for i := range th.context {
		th.context[i].site = nil
	}
}

// lane returns a lane of the thread. It is valid until the next call.
func (th *thread) lane(n uint8) *lane {
	for int(n) >= len(th.lanes) {
		th.lanes = append(th.lanes[:len(th.lanes):len(th.lanes)], th.unused)
	}
	return &th.lanes[n]
}

// has reports whether a lane has been needed.
func (th *thread) has(n uint8) bool { return int(n) < len(th.lanes) }

// releaseStacks forgets the stacks of the thread, which must be empty.
func (th *thread) releaseStacks() {
	for i := range th.lanes {
		for _, st := range th.lanes[i].stacks {
			st.Release()
		}
		th.lanes[i].stacks = nil
	}
}

// ending is the reason for which the scopes of a lane end: those of a lane that a
// gap has not been brought in line with may have lost their own exits.
func (th *thread) ending(ln *lane, why stream.Reason) stream.Reason {
	if ln.gaps != th.gaps {
		return stream.ReasonLost
	}
	return why
}

// lane is one strict stack of a thread, or several when its rank changes.
type lane struct {
	stacks   []*recorder.Stack // the current one first
	time     int64             // of the last delivered marker
	count    kernelCount
	gaps     uint32 // gaps of the thread that this lane has been brought in line with
	overflow uint32 // open enters beyond a limit: the innermost ones, on no stack
	// unsure: scopes may be open that are on no stack, because nobody can say
	// which ones a gap hides.
	unsure   bool
	expected []pairExits // exits that may still come, of pairs without tokens
	// witnesses are the pairs whose arguments are watched.
	witnesses []witness
}
