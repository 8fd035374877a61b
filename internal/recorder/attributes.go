// SPDX-License-Identifier: Apache-2.0

package recorder

import (
	"bytes"
	"math/bits"
)

const (
	smallestBuffer = 64
	bufferClasses  = 8 // 64·4⁷ is maxAttributesCeiling
)

// buffers lends the memory for the attributes of open scopes. Buffers of a few
// sizes go back and forth, so that a steady load allocates nothing, and together
// they never take more than the budget.
type buffers struct {
	free   [bufferClasses][][]byte
	held   int // bytes of all buffers, lent and free
	budget int
}

// get returns an empty buffer of at least n bytes (n ≥ 1), or nil if there is
// no room for it.
func (p *buffers) get(n int) []byte {
	c := class(n)
	if f := p.free[c]; len(f) > 0 {
		b := f[len(f)-1]
		p.free[c] = f[:len(f)-1]
		return b
	}
	size := smallestBuffer << (2 * c)
	if p.held+size > p.budget {
		p.dropFree()
	}
	if p.held+size > p.budget {
		return nil
	}
	p.held += size
	return make([]byte, 0, size)
}

// put takes a buffer back. Its bytes stay as they are until the next get.
func (p *buffers) put(b []byte) {
	c := class(cap(b))
	p.free[c] = append(p.free[c], b[:0])
}

func (p *buffers) dropFree() {
	for c, f := range p.free {
		p.held -= len(f) * smallestBuffer << (2 * c)
		p.free[c] = nil
	}
}

func class(n int) int {
	if n <= smallestBuffer {
		return 0
	}
	return (bits.Len(uint(n-1)/smallestBuffer) + 1) / 2
}

// noAttributes reports whether attrs says nothing: empty, null or an object
// without members.
func noAttributes(attrs []byte) bool {
	if len(attrs) == 0 {
		return true
	}
	const space = " \t\r\n"
	attrs = bytes.Trim(attrs, space)
	switch {
	case len(attrs) == 0 || string(attrs) == "null":
		return true
	case attrs[0] == '{' && attrs[len(attrs)-1] == '}' && len(attrs) >= 2:
		return len(bytes.Trim(attrs[1:len(attrs)-1], space)) == 0
	}
	return false
}
