// SPDX-License-Identifier: Apache-2.0

package session

// maxWarnings bounds the warnings of a session: a followed program can run any
// number of files.
const maxWarnings = 1024

// warnings are told once each: a file is looked at again whenever another process
// maps it. Beyond the bound they are counted.
type warnings struct {
	seen    map[string]bool
	pending []string
	beyond  int // beyond maxWarnings
}

// add takes warnings and returns how many of them are new.
func (w *warnings) add(texts ...string) (added int) {
	for _, text := range texts {
		switch {
		case w.seen[text]:
			continue
		case len(w.seen) == maxWarnings:
			w.beyond++
		default:
			if w.seen == nil {
				w.seen = make(map[string]bool)
			}
			w.seen[text] = true
			w.pending = append(w.pending, text)
		}
		added++
	}
	return added
}

// fresh returns the warnings added since the last call.
func (w *warnings) fresh() []string {
	out := w.pending
	w.pending = nil
	return out
}
