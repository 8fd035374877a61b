// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"errors"
	"maps"
	"os"
	"time"

	"github.com/phasetrace/phasetrace/internal/lease"
)

// pending is a file whose markers are not traced for now, because it is being
// written to or because somebody still shows its old contents.
type pending struct {
	path  string
	file  *os.File
	pids  map[int]bool // targets to look at again then
	since int64        // when its probes were removed, or it could not be attached to, ns CLOCK_MONOTONIC
	wait  time.Duration
	tries int // looks that took too long
	// Where nobody can tell whether it is being written to: what it was at the last
	// look, and for how many looks.
	last  fileID
	still int
}

// postponed are the files that are attached to later.
type postponed struct {
	all  map[fileKey]*pending
	post func(func())   // to the watcher's goroutine
	look func(*pending) // looks at its processes again, and leaves those that take too long
}

// How often pending files are looked at: soon at first, as a copy is quick.
const (
	firstWait = 2 * time.Millisecond
	lastWait  = 100 * time.Millisecond
	// stillLooks is after how many looks a file that has not changed is complete.
	stillLooks = 20
)

// putOff looks at processes again once a file can be attached to. It takes over
// the open file.
func (ps *postponed) putOff(key fileKey, p *pending) {
	if old := ps.all[key]; old != nil {
		maps.Copy(old.pids, p.pids)
		p.file.Close()
		return
	}
	ps.all[key] = p
	ps.retryLater(key, p)
}

func (ps *postponed) retryLater(key fileKey, p *pending) {
	time.AfterFunc(p.wait, func() { ps.post(func() { ps.retry(key, p) }) })
}

// retry looks whether a pending file can be attached to by now.
func (ps *postponed) retry(key fileKey, p *pending) {
	if ps.all[key] != p {
		return
	}
	if !complete(p) {
		p.wait = min(2*p.wait, lastWait)
		ps.retryLater(key, p)
		return
	}
	delete(ps.all, key)
	ps.look(p)
	if len(p.pids) > 0 && p.tries < maxTries {
		p.wait = tryWait << p.tries
		p.tries++
		ps.putOff(key, p)
		return
	}
	p.file.Close()
}

// complete reports whether nobody writes to a file any more. Where that cannot be
// told, it is when nothing has changed for a while.
func complete(p *pending) bool {
	err := lease.Free(p.file)
	if err == nil || errors.Is(err, lease.ErrWriter) {
		return err == nil
	}
	id, err := identify(p.file)
	if p.still++; err != nil || id != p.last {
		p.last, p.still = id, 0
	}
	return p.still >= stillLooks
}

// of returns what waits, if any, of some files.
func (ps *postponed) of(open []openFile) *pending {
	for _, f := range open {
		if p := ps.all[f.key]; p != nil {
			return p
		}
	}
	return nil
}

// paths names what waits.
func (ps *postponed) paths() (paths []string) {
	for _, p := range ps.all {
		paths = append(paths, p.path)
	}
	return paths
}

// close lets go of what waits.
func (ps *postponed) close() {
	for _, p := range ps.all {
		p.file.Close()
	}
	clear(ps.all)
}

// patience is how long a process that is added waits for files that somebody has
// open for writing, as who has just built them.
const patience = time.Second

// await looks again and again at files that could not be attached to.
func (ps *postponed) await(ctx context.Context) {
	for end := time.Now().Add(patience); len(ps.all) > 0 && time.Now().Before(end) && ctx.Err() == nil; time.Sleep(firstWait) {
		for key, p := range ps.all {
			if complete(p) {
				ps.retry(key, p)
			}
		}
	}
}
