// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/phasetrace/phasetrace/internal/event"
	"github.com/phasetrace/phasetrace/internal/probe"

	"github.com/phasetrace/phasetrace/internal/loader"
)

// tracer is phasetrace's own loader with a reader that drains it.
type tracer struct {
	*loader.Tracer
	unread   bool // until it stops
	stopping atomic.Bool
	done     chan error
	took     time.Duration // from nothing to attached
}

// drainInterval is how often a session looks into the ring buffer.
const drainInterval = 10 * time.Millisecond

// trace attaches to the markers of a program; change edits the plan.
func trace(p *program, change func([]probe.Site) []probe.Site) (*tracer, error) {
	sites, err := markerSites(p.path)
	if err != nil {
		return nil, err
	}
	if change != nil {
		sites = change(sites)
	}
	began := time.Now()
	t := &tracer{unread: p.unread, done: make(chan error, 1)}
	if t.Tracer, err = loader.Open(loader.Options{}); err != nil {
		return nil, err
	}
	if err = t.AddTarget(p.pid()); err == nil {
		var failed []loader.SiteError
		_, failed, err = t.Attach(p.pid(), p.path, sites)
		if len(failed) > 0 {
			err = failed[0]
		}
	}
	if err != nil {
		return nil, errors.Join(err, t.Close())
	}
	t.took = time.Since(began)
	if !t.unread {
		go t.drain()
	}
	return t, nil
}

func (t *tracer) drain() {
	for !t.unread && !t.stopping.Load() {
		if _, err := t.Read(time.Now().Add(drainInterval), func(event.Event) {}); err != nil {
			t.done <- err
			return
		}
	}
	t.done <- t.Drain(func(event.Event) {})
}

// stop detaches and checks that nothing was lost.
func (t *tracer) stop() error {
	err := t.Detach(nil)
	t.stopping.Store(true)
	if t.unread {
		t.drain()
	}
	err = errors.Join(err, <-t.done)
	s, statsErr := t.Stats()
	if s.Lost+s.LostNoState+s.Malformed+s.Missed > 0 {
		err = errors.Join(err, fmt.Errorf("lost records: %+v", s))
	}
	return errors.Join(err, statsErr, t.Close())
}
