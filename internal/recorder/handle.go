// SPDX-License-Identifier: Apache-2.0

package recorder

import (
	"slices"
	"strings"
	"sync"
)

// Handle is an open phase that can be closed. It may be used from any goroutine.
type Handle struct {
	scopeID string
	name    string
	path    []string
	onClose func(threadID int) (Boundary, error)

	mu     sync.Mutex
	closed bool
}

// NewHandle returns an open handle for a scope that onClose closes, on behalf of
// the thread that closes. onClose is called with the handle locked and must not
// use it.
func NewHandle(scopeID, name string, path []string, onClose func(threadID int) (Boundary, error)) *Handle {
	return &Handle{scopeID: scopeID, name: name, path: slices.Clone(path), onClose: onClose}
}

// Open enters a phase as Enter does and returns a handle that exits it as Exit
// does.
func (r *Recorder) Open(k Key, threadName, name string, attrs []byte) (*Handle, error) {
	t, b, err := r.Enter(k, threadName, name, attrs)
	if err != nil {
		return nil, err
	}
	return NewHandle(t.ScopeID(), t.Name(), b.PathParts(), func(threadID int) (Boundary, error) {
		return r.Exit(t, threadID)
	}), nil
}

// ScopeID is the scope id of the phase.
func (h *Handle) ScopeID() string { return h.scopeID }

// Name is the phase's own name.
func (h *Handle) Name() string { return h.name }

// Path is the names from the outermost phase on, in a new slice.
func (h *Handle) Path() []string { return slices.Clone(h.path) }

// PhasePath is the names joined by Separator.
func (h *Handle) PhasePath() string { return strings.Join(h.path, Separator) }

// Closed reports whether a Close has succeeded.
func (h *Handle) Closed() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.closed
}

// Close closes the phase once, on behalf of the given thread, and returns its
// exit. From another thread than the one that opened the phase, it fails with
// WrongThread. A close that failed leaves the handle open, so that it can be
// tried again. After a close that succeeded, further calls from any thread do
// nothing and return a zero Boundary.
func (h *Handle) Close(threadID int) (Boundary, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return Boundary{}, nil
	}
	b, err := h.onClose(threadID)
	if err != nil {
		return Boundary{}, err
	}
	h.closed = true
	return b, nil
}
