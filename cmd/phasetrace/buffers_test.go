// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"sync"
)

// lineHook is an output that calls back at every phase boundary it is given.
type lineHook struct {
	bytes.Buffer
	boundaries int
	at         int
	call       func()
}

func (h *lineHook) Write(p []byte) (int, error) {
	h.boundaries += bytes.Count(p, []byte(`"event_type":"phase_`))
	if h.boundaries >= h.at && h.call != nil {
		h.call()
		h.call = nil
	}
	return h.Buffer.Write(p)
}

// syncBuffer is a buffer that several goroutines write to.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
