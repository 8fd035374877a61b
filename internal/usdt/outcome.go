// SPDX-License-Identifier: Apache-2.0

package usdt

import "strings"

// participles are words of exits as one says them of what has ended.
var participles = map[string]string{
	"abort": "aborted", "cancel": "cancelled", "commit": "committed", "complete": "completed", "done": "done",
	"drop": "dropped", "end": "ended", "error": "failed", "exit": "exited", "fail": "failed", "failure": "failed",
	"finish": "finished", "reject": "rejected", "return": "returned", "rollback": "rolled back", "success": "succeeded",
	"timeout": "timed out", "unwind": "unwound",
}

// Outcome returns what it says of a phase that an exit probe has ended it: the word
// by which the probe differs from the pair's other exits. It is empty if there are no
// others.
func (p *PairSpec) Outcome(exit string) string {
	if len(p.Exits) < 2 {
		return ""
	}
	shared := len(exit)
	for _, other := range p.Exits {
		if other != exit {
			shared = min(shared, len(sharedWords(exit, other)))
		}
	}
	word := strings.ReplaceAll(strings.Trim(exit[shared:], "_-"), "__", "-")
	if word == "" {
		word = strings.ReplaceAll(exit, "__", "-")
	}
	if said, ok := participles[strings.ToLower(word)]; ok {
		return said
	}
	return word
}

// sharedWords returns what two names begin with, as far as the words of both are the
// same.
func sharedWords(a, b string) string {
	var of [2][8]word
	first, second := wordsOf(a, of[0][:0]), wordsOf(b, of[1][:0])
	end := 0
	for i := range min(len(first), len(second)) {
		if first[i].lower != second[i].lower {
			break
		}
		end = first[i].end
	}
	return a[:end]
}
