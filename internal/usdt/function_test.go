// SPDX-License-Identifier: Apache-2.0

package usdt

import (
	"bytes"
	"debug/elf"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFindFunctions(t *testing.T) {
	const function = byte(elf.STT_FUNC)
	b := (&testELF{code: []byte{0x90, 0xc3}, names: "\x00one\x00two\x00data\x00gone\x00", symbols: []elf.Sym64{
		{}, {Name: 1, Value: codeBase + codeAt, Shndx: 1, Info: function},
		{Name: 5, Value: codeBase + codeAt, Shndx: 1, Info: function}, {Name: 5, Value: codeBase + codeAt + 1, Shndx: 1, Info: function},
		{Name: 9, Value: dataBase + dataAt, Shndx: 1, Info: function}, {Name: 14, Value: 0, Shndx: 0, Info: function},
	}}).bytes()
	f, err := FindFunctions(bytes.NewReader(b), int64(len(b)), "one", "two", "data", "gone", "none")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Functions{
		Named:     map[string]uint64{"one": codeAt},
		Addresses: map[string]uint64{"one": codeBase + codeAt, "data": dataBase + dataAt},
	}, f); diff != "" {
		t.Errorf("want (-), got (+): one function, an ambiguous name, a variable, an undefined name, no entry point\n%s", diff)
	}
	if _, err := FindFunctions(strings.NewReader("#!/bin/sh"), 9, "one"); !errors.Is(err, ErrNotELF) {
		t.Errorf("a script: %v", err)
	}
}

// A text is found wherever it lies in what cannot be written, over the edges
// of the pieces that are read, and nowhere else.
func TestHasText(t *testing.T) {
	const text = "a text to find"
	for _, c := range []struct {
		at   int
		want bool
	}{{0x100, true}, {1<<20 - 5, true}, {1 << 20, true}, {3<<20 - len(text), true}, {3<<20 - len(text) + 1, false}, {3 << 20, false}} {
		b := make([]byte, 4<<20)
		copy(b, (&testELF{}).bytes())
		grow(b, 3<<20)
		copy(b[c.at:], text)
		if has, err := HasText(bytes.NewReader(b), int64(len(b)), text); err != nil || has != c.want {
			t.Errorf("at %#x: %v, %v; want %v", c.at, has, err, c.want)
		}
	}
}

// grow sets the size of the first segment, and drops the section headers,
// which lie where the segment grows to.
func grow(b []byte, size uint64) {
	const filesz = 64 + 32 // Elf64_Ehdr, then p_filesz of the first Elf64_Phdr
	for i := range 8 {
		b[filesz+i] = byte(size >> (8 * i))
	}
	clear(b[40:48]) // e_shoff
	clear(b[60:64]) // e_shnum, e_shstrndx
}
