// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"math"

	"github.com/phasetrace/phasetrace/internal/probe"
)

// ObjectList says where a dynamic linker keeps the list of objects that it shows
// debuggers (struct r_debug of link.h): how far behind the function that it calls
// for them, in memory. The zero value: it is not known.
type ObjectList struct {
	Known    bool
	Distance int64
	Pointer  bool // what lies there is the address of the list
}

// Flags of the cookie, bpf/library.h.
const (
	listKnown   = 1 << 0
	listPointer = 1 << 1
)

// at is the place of the function, with a cookie that says where the list is.
func (l ObjectList) at(offset uint64) boundSite {
	s := boundSite{Site: probe.Site{Offset: offset}}
	if !l.Known || l.Distance < math.MinInt32 || l.Distance > math.MaxInt32 {
		return s
	}
	s.cookie = uint64(uint32(int32(l.Distance))) | listKnown<<32
	if l.Pointer {
		s.cookie |= listPointer << 32
	}
	return s
}
