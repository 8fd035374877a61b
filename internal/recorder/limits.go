// SPDX-License-Identifier: Apache-2.0

package recorder

import "math"

// Defaults of Limits.
const (
	DefaultMaxDepth          = 4096
	DefaultMaxPaths          = 1 << 16
	DefaultMaxChildren       = 1 << 14
	DefaultMaxName           = 512
	DefaultMaxNameBytes      = 8 << 20
	DefaultMaxScopes         = 1 << 16
	DefaultMaxAttributes     = 16 << 10
	DefaultMaxAttributeBytes = 8 << 20
)

// maxAttributesCeiling is the largest buffer that the attribute pool serves.
const maxAttributesCeiling = 1 << 20

// Limits bounds what a traced program can make the recorder keep. A field that
// is zero or negative takes its default.
type Limits struct {
	// MaxDepth is the number of scopes open at once on one stack. An enter
	// beyond it fails with ErrTooDeep.
	MaxDepth int
	// MaxPaths is the number of distinct paths, and MaxChildren the number of
	// distinct names below one parent. Whatever exceeds either counts under the
	// parent's overflow node; see Path.Overflow. At most MaxPaths+1 overflow
	// nodes come on top.
	MaxPaths    int
	MaxChildren int
	// MaxName is the length in bytes at which a name is cut, at a character
	// boundary. Boundaries of such a scope carry CutName.
	MaxName int
	// MaxNameBytes bounds the names of all paths together, in bytes; beyond it,
	// new names count under the overflow node too.
	MaxNameBytes int
	// MaxScopes is the number of scopes open at once on all stacks. An enter
	// beyond it fails with ErrTooManyScopes.
	MaxScopes int
	// MaxAttributes is the largest attribute object kept, in bytes, at most 1
	// MiB. A longer one is left out whole, because half a JSON object is useless;
	// boundaries of such a scope carry CutAttributes.
	MaxAttributes int
	// MaxAttributeBytes bounds the memory of the attributes of all open scopes
	// together, in bytes of buffers, which are 64·4ⁿ bytes long. Beyond it,
	// attributes are left out as above.
	MaxAttributeBytes int
}

func (l Limits) withDefaults() Limits {
	for _, f := range []struct {
		field *int
		value int
	}{
		{&l.MaxDepth, DefaultMaxDepth},
		{&l.MaxPaths, DefaultMaxPaths},
		{&l.MaxChildren, DefaultMaxChildren},
		{&l.MaxName, DefaultMaxName},
		{&l.MaxNameBytes, DefaultMaxNameBytes},
		{&l.MaxScopes, DefaultMaxScopes},
		{&l.MaxAttributes, DefaultMaxAttributes},
		{&l.MaxAttributeBytes, DefaultMaxAttributeBytes},
	} {
		if *f.field <= 0 {
			*f.field = f.value
		}
	}
	l.MaxScopes = min(l.MaxScopes, math.MaxInt32) // slots are 32 bits wide
	l.MaxAttributes = min(l.MaxAttributes, maxAttributesCeiling)
	return l
}

// Stats is what a recorder holds and what its limits cost. The counters run
// from New on; Reset leaves them alone.
type Stats struct {
	Sequence       uint64 // the last sequence number used
	Stacks         int    // stacks known, empty ones included
	OpenScopes     int
	Slots          int // slots ever in use at once since New or Reset
	Paths          int // path nodes, overflow nodes included; ids are below it
	NameBytes      int // bytes of all path names
	AttributeBytes int // bytes of attribute buffers, free ones included

	EmptyNames        uint64 // enters refused with ErrEmptyName
	TooDeep           uint64 // enters refused with ErrTooDeep
	TooManyScopes     uint64 // enters refused with ErrTooManyScopes
	PathsOverflowed   uint64 // enters counted under an overflow node
	NamesCut          uint64 // enters whose name was cut
	AttributesDropped uint64 // enters whose attributes were left out

	// Violations counts refused exits by kind; index 0 is unused.
	Violations [kinds]uint64
}
