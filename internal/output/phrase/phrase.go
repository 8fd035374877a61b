// SPDX-License-Identifier: Apache-2.0

// Package phrase puts the codes of records into words, the same in every format.
// It must not know how a format is laid out.
package phrase

import (
	"github.com/phasetrace/phasetrace/internal/gpu"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// Orphan says why no scope is open for an exit. For an unknown code it returns
// the code.
func Orphan(why stream.OrphanReason) string {
	switch why {
	case stream.OrphanBeforeAttach:
		return "entered before tracing began"
	case stream.OrphanUntraced:
		return "entered while nobody was tracing"
	case stream.OrphanInherited:
		return "entered by the parent process, before the fork"
	case stream.OrphanLost:
		return "the record of its enter was lost"
	case stream.OrphanRepaired:
		return "phasetrace had closed the phase itself"
	case stream.OrphanKeyReused:
		return "its key was used again: the key does not tell phases apart"
	case stream.OrphanEnterNotAttached:
		return "the enters of its pair could not be attached"
	case stream.OrphanUnknown:
		return "the reason was not kept"
	}
	return string(why)
}

// NoGPU says why there is no GPU memory: gpu.Status's codes, and "off" where nobody
// was to look. For an unknown code it returns the code.
func NoGPU(code string) string {
	if code == "off" {
		return "reading it is switched off"
	}
	for i, name := range gpu.Statuses() {
		if name == code {
			return gpu.Status(i).What()
		}
	}
	return code
}

// Repair says what was done about the stack after a violation, "" if that is
// unknown. For an unknown code it returns the code.
func Repair(r stream.Repair) string {
	switch r {
	case stream.RepairNothing:
		return "nothing had to be done"
	case stream.RepairUnwound:
		return "what was open inside it was closed"
	case stream.RepairAtOwner:
		return "the scope was closed where it was opened"
	case stream.RepairRefused:
		return "the stack was left as it is"
	}
	return string(r)
}

// RepairOf is the inverse of Repair. For unknown words it returns the words.
func RepairOf(words string) stream.Repair {
	for _, r := range []stream.Repair{stream.RepairNothing, stream.RepairUnwound, stream.RepairAtOwner, stream.RepairRefused} {
		if Repair(r) == words {
			return r
		}
	}
	return stream.Repair(words)
}

// Pair is what a pair is called: its phases, or its enter probe where each marker names
// its own.
func Pair(name, provider, enter string) string {
	if name != "" {
		return name
	}
	return provider + ":" + enter
}
