// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// Attachment is a set of probes that were attached together and are removed
// together.
type Attachment struct {
	links    []link.Link
	programs []*ebpf.Program // that serve them, each once
	taken    bool            // somebody removes the links, or has
	removed  chan struct{}   // closed when the links are

	uncounted []Uncounted
}

func newAttachment(links []link.Link, programs ...*ebpf.Program) *Attachment {
	return &Attachment{links: links, programs: programs, removed: make(chan struct{})}
}

// Uncounted returns the sites that were attached without their counters.
func (at *Attachment) Uncounted() []Uncounted { return at.uncounted }

// attachments are the probes of a tracer. Safe for concurrent use.
type attachments struct {
	mu      sync.Mutex
	current map[*Attachment]bool
	count   int                   // of the links that there are
	users   map[*ebpf.Program]int // attachments that a program serves
	closing sync.WaitGroup        // attachments that are being removed
	slots   chan struct{}         // bounds the links that are closed at a time
}

// closers bounds how many links are closed at once: each waits for a grace period
// of the kernel, so waiting in parallel helps.
const closers = 64

func newAttachments() *attachments {
	return &attachments{
		current: make(map[*Attachment]bool), users: make(map[*ebpf.Program]int), slots: make(chan struct{}, closers),
	}
}

// keep registers a new attachment.
func (a *attachments) keep(at *Attachment) *Attachment {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.current[at] = true
	a.count += len(at.links)
	for _, p := range at.programs {
		a.users[p]++
	}
	return at
}

// begin reports whether the caller is the one that closes the links of an
// attachment.
func (a *attachments) begin(at *Attachment) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if at.taken {
		return false
	}
	at.taken = true
	a.count -= len(at.links)
	return true
}

// remove closes the links of an attachment, and returns once they are closed,
// whoever closes them.
func (a *attachments) remove(at *Attachment) {
	if a.begin(at) {
		// From closing a descriptor: nothing can be done about it.
		_ = a.close(at.links, nil)
		close(at.removed)
	}
	<-at.removed
}

// take forgets an attachment and returns whether it was there, and the programs
// that now serve nothing.
func (a *attachments) take(at *Attachment) (found bool, idle []*ebpf.Program) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.current[at] {
		return false, nil
	}
	delete(a.current, at)
	for _, p := range at.programs {
		if a.users[p]--; a.users[p] == 0 {
			delete(a.users, p)
			idle = append(idle, p)
		}
	}
	return true, idle
}

// all returns all attachments.
func (a *attachments) all() []*Attachment {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := make([]*Attachment, 0, len(a.current))
	for at := range a.current {
		out = append(out, at)
	}
	return out
}

// links returns the number of links.
func (a *attachments) links() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.count
}

// close closes links in parallel and returns when all are closed. progress, if
// not nil, is called after each, from one goroutine at a time.
func (a *attachments) close(links []link.Link, progress func()) error {
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		errs []error
	)
	for _, l := range links {
		wg.Go(func() {
			a.slots <- struct{}{}
			err := l.Close()
			<-a.slots
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, err)
			if progress != nil {
				progress()
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Release removes the probes of an attachment without waiting: the kernel removes
// them first and then waits until no program runs, and that may be one that
// ReleaseExec has to let go. removed, if not nil, is called once no hit of theirs
// can come any more. Releasing twice does nothing.
func (t *Tracer) Release(at *Attachment, removed func()) {
	found, idle := t.attached.take(at)
	if !found {
		return
	}
	t.dropPrograms(idle)
	t.attached.closing.Go(func() {
		t.attached.remove(at)
		for _, p := range idle {
			t.retire(p)
		}
		if removed != nil {
			removed()
		}
	})
}

// Withdraw removes the probes of attachments, and returns once no hit of theirs
// can come any more. It may be called by any goroutine at any time; what is known
// of the attachments stays until they are released.
//
// A child of this process that is between fork and exec has the links open as well,
// and keeps the probes: who must be certain that they are removed starts none.
func (t *Tracer) Withdraw(all ...*Attachment) {
	var wg sync.WaitGroup
	for _, at := range all {
		wg.Go(func() { t.attached.remove(at) })
	}
	wg.Wait()
}

// Links returns how many links hold the attached probes.
func (t *Tracer) Links() int { return t.attached.links() }

// Detach removes every probe; the programs run no more when it returns.
// progress, if not nil, is called with the number of links removed and their
// total, from one goroutine at a time. Unread records stay readable.
func (t *Tracer) Detach(progress func(done, total int)) error {
	links := t.hooks
	t.hooks = nil
	var mine, others []*Attachment
	for _, at := range t.attached.all() {
		if found, _ := t.attached.take(at); !found {
			continue
		}
		if t.attached.begin(at) {
			links, mine = append(links, at.links...), append(mine, at)
		} else {
			others = append(others, at)
		}
	}
	done := 0
	err := t.attached.close(links, func() {
		if done++; progress != nil {
			progress(done, len(links))
		}
	})
	for _, at := range mine {
		close(at.removed)
	}
	for _, at := range others {
		<-at.removed
	}
	t.attached.closing.Wait()
	if err != nil {
		return fmt.Errorf("detach: %w", err)
	}
	return nil
}
