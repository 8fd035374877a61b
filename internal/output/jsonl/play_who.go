// SPDX-License-Identifier: Apache-2.0

package jsonl

import (
	"slices"

	"github.com/phasetrace/phasetrace/internal/stream"
)

// who are the process and the thread of a line. Missing ids are 0.
type who struct {
	rank                           int
	hasRank, hasProcess, hasThread bool
	pid, hostPID, containerPID     int
	thread, hostTID, containerTID  int
	name                           string
}

// processFields are the ids of a process.
var processFields = []field{
	{"pid", need, func(p *player) {
		if p.who.hasProcess = !p.null(); p.who.hasProcess {
			p.who.pid = p.number()
		}
	}},
	{"host_pid", optional, func(p *player) { p.who.hostPID = p.number() }},
	{"container_pid", optional, func(p *player) { p.who.containerPID = p.number() }},
}

// threadFields are the rank, the host and the ids of process and thread, except
// the thread's own.
var threadFields = slices.Concat([]field{
	{"rank", need, func(p *player) {
		if p.who.hasRank = !p.null(); p.who.hasRank {
			p.who.rank = p.number()
		}
	}},
	hostField,
}, processFields, []field{
	{"host_thread_id", optional, func(p *player) { p.who.hostTID = p.number() }},
	{"container_thread_id", optional, func(p *player) { p.who.containerTID = p.number() }},
})

// whereFields are all of a thread, which may be unknown.
var whereFields = append(slices.Clip(threadFields),
	field{"thread_id", need, func(p *player) {
		if p.who.hasThread = !p.null(); p.who.hasThread {
			p.who.thread = p.number()
		}
	}},
	field{"thread_name", need, func(p *player) { p.who.name = p.stringOrNull() }},
)

// threadKey is everything that distinguishes a thread from others.
type threadKey struct {
	process                    *stream.Process
	tid, hostTID, containerTID int
	name                       string
}

// maxThreads bounds the threads and the markers that are kept for reuse.
const maxThreads = 1 << 16

// threadOf returns the thread of a line, nil if it names none.
func (p *player) threadOf(w *who) *stream.Thread {
	if !w.hasThread {
		return nil
	}
	key := threadKey{nil, w.thread, or(w.hostTID, w.thread), or(w.containerTID, w.thread), w.name}
	if w.hasProcess {
		key.process = p.processOf(w)
	}
	if t := p.threads[key]; t != nil {
		return t
	}
	t := &stream.Thread{TID: key.tid, HostTID: key.hostTID, ContainerTID: key.containerTID, Name: key.name, Process: key.process}
	if len(p.threads) >= maxThreads || p.threads == nil {
		p.threads = make(map[threadKey]*stream.Thread)
	}
	p.threads[key] = t
	return t
}

func or(id, usual int) int {
	if id == 0 {
		return usual
	}
	return id
}

// processOf returns the process of a line, with everything read about it before.
// The rank, if the line has one, is the process's.
func (p *player) processOf(w *who) *stream.Process {
	host, container := or(w.hostPID, w.pid), or(w.containerPID, w.pid)
	known := p.processes[w.pid]
	if known != nil && known.HostPID == host && known.ContainerPID == container && (!w.hasRank || known.Rank == int32(w.rank)) {
		return known
	}
	var fresh stream.Process // never written to once it is given out
	if known != nil {
		fresh = *known
	}
	fresh.PID, fresh.HostPID, fresh.ContainerPID = w.pid, host, container
	if w.hasRank {
		fresh.Rank = int32(w.rank)
	}
	p.processes[w.pid] = &fresh
	return &fresh
}

// where returns the thread of a line that may have none, and fails if its rank
// and its process do not match.
func (p *player) where() *stream.Thread {
	if p.who.hasRank != (p.who.hasThread && p.who.hasProcess) {
		p.failf("rank: want it where process and thread are known, and null elsewhere")
		return nil
	}
	return p.threadOf(&p.who)
}

// siteFields are those of a marker with its place.
var siteFields = newObject(
	field{"provider", need, func(p *player) { p.site.Provider = p.string() }},
	field{"probe", need, func(p *player) { p.site.Probe = p.string() }},
	field{"outcome", optional, func(p *player) { p.site.Outcome = p.string() }},
	field{"file", need, func(p *player) { p.site.Path = p.stringOrNull() }},
	field{"offset", need, func(p *player) { p.site.Offset = p.unsigned() }},
)

// probeFields are those of a marker without it.
var probeFields = newObject(siteFields.fields[:3]...)

// readMarker reads a marker, or null.
func (p *player) readMarker(fields *object) {
	p.marker, p.site = nil, stream.Marker{}
	if p.null() {
		return
	}
	p.object(fields)
	if p.marker = p.markers[p.site]; p.marker != nil || p.err != nil {
		return
	}
	if len(p.markers) >= maxThreads || p.markers == nil {
		p.markers = make(map[stream.Marker]*stream.Marker)
	}
	m := p.site
	p.marker, p.markers[m] = &m, &m
}

var markerField = field{"marker", need, func(p *player) { p.readMarker(siteFields) }}
