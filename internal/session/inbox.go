// SPDX-License-Identifier: Apache-2.0

package session

import "sync"

// inbox holds tasks for one goroutine. Posting never waits.
type inbox struct {
	mu    sync.Mutex
	tasks []func()
	wake  chan struct{} // of one
}

func newInbox() inbox { return inbox{wake: make(chan struct{}, 1)} }

func (in *inbox) post(task func()) {
	in.mu.Lock()
	in.tasks = append(in.tasks, task)
	in.mu.Unlock()
	select {
	case in.wake <- struct{}{}:
	default:
	}
}

func (in *inbox) take() []func() {
	in.mu.Lock()
	defer in.mu.Unlock()
	tasks := in.tasks
	in.tasks = nil
	return tasks
}
