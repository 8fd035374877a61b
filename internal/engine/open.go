// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/phasetrace/phasetrace/internal/stream"
)

// Open returns how many scopes are open, and of them those that were entered first, at
// most limit. Stand-ins, of which nobody knows when they began, are left out. Between
// Begin and End.
func (e *Engine) Open(limit int) (longest []stream.OpenPhase, total uint64) {
	var all []*scope
	for i := range e.scopes.open {
		if sc := &e.scopes.open[i]; !sc.token.IsZero() && !sc.standIn() {
			all = append(all, sc)
		}
	}
	slices.SortFunc(all, func(a, b *scope) int {
		return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.token.Scope(), b.token.Scope()))
	})
	for _, sc := range all[:min(len(all), limit)] {
		longest = append(longest, stream.OpenPhase{
			Path: sc.token.Path(), SessionID: sc.token.SessionID(), Scope: sc.token.Scope(), Lane: sc.token.Lane(),
			Thread: sc.thread.identity(), Since: sc.start, Attributes: bytes.Clone(e.scopes.batch.Attributes(sc.token)),
		})
	}
	return longest, uint64(len(all))
}
