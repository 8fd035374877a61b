// SPDX-License-Identifier: Apache-2.0

package jsonl

import (
	"encoding/base64"
	"unicode/utf8"

	"github.com/phasetrace/phasetrace/internal/recorder"
)

// pathBudget bounds the memory of encoded paths, in bytes. When it is used up,
// all are dropped and encoded again when needed.
const pathBudget = 8 << 20

// pathOverhead is what an entry costs besides its bytes, roughly.
const pathOverhead = 128

// pathCache keeps the encoded forms of paths by their dense id.
type pathCache struct {
	entries []encodedPath
	used    int
}

// encodedPath holds what a boundary's line says of its path. The zero value is
// empty.
type encodedPath struct {
	path *recorder.Path
	// context is the inside of a JSON string, array the list of names, name the
	// last of them as a JSON string. full is array with the fields that follow it
	// if names alone do not identify the path.
	context, array, name, full []byte
}

// get returns the encoded path, which is valid until the next call.
func (c *pathCache) get(p *recorder.Path) *encodedPath {
	if id := p.ID(); id < len(c.entries) && c.entries[id].path == p {
		return &c.entries[id]
	}
	return c.add(p)
}

func (c *pathCache) add(p *recorder.Path) *encodedPath {
	e := encodePath(p)
	size := cap(e.context) + cap(e.array) + cap(e.name) + cap(e.full) + pathOverhead
	if c.used+size > pathBudget {
		c.entries, c.used = nil, 0
	}
	for len(c.entries) <= p.ID() {
		c.entries = append(c.entries, encodedPath{})
	}
	c.used += size
	c.entries[p.ID()] = e
	return &c.entries[p.ID()]
}

func encodePath(p *recorder.Path) encodedPath {
	array := appendNames(nil, p.Parts())
	return encodedPath{
		path:    p,
		context: appendInside(nil, p.String()),
		array:   array,
		name:    AppendString(nil, p.Name()),
		full:    appendDetails(array[:len(array):len(array)], p),
	}
}

// appendNames appends the names of a path as a JSON array.
func appendNames(dst []byte, parts []string) []byte {
	dst = append(dst, '[')
	for i, name := range parts {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendString(dst, name)
	}
	return append(dst, ']')
}

// appendDetails appends what names do not say about a path: the bytes of names
// that are not valid UTF-8, and that it stands for the phases beyond a limit.
func appendDetails(dst []byte, p *recorder.Path) []byte {
	parts := p.Parts()
	if !validNames(parts) {
		dst = append(dst, `,"path_bytes":[`...)
		for i, name := range parts {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(dst, '"')
			dst = base64.StdEncoding.AppendEncode(dst, []byte(name))
			dst = append(dst, '"')
		}
		dst = append(dst, ']')
	}
	if p.Overflow() {
		dst = append(dst, `,"overflow":true`...)
	}
	return dst
}

func validNames(parts []string) bool {
	for _, name := range parts {
		if !utf8.ValidString(name) {
			return false
		}
	}
	return true
}
