// SPDX-License-Identifier: Apache-2.0

package usdt

import (
	"bytes"
	"debug/elf"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Functions and variables that a pair names are found in the symbol table: a function in
// code, a variable in memory that is loaded, and neither under a name that two have.
func TestReadFor(t *testing.T) {
	const function, object = byte(elf.STT_FUNC), byte(elf.STT_OBJECT)
	symbol := func(name uint32, at uint64, kind byte) elf.Sym64 {
		return elf.Sym64{Name: name, Value: at, Shndx: 1, Info: kind}
	}
	b := (&testELF{
		code:  []byte{0x90, 0xc3, 0x55, 0xc3},
		notes: sdtNote(codeBase+codeAt, 0, 0, "p", "a", ""),
		names: "\x00cleanup\x00twice\x00text\x00data\x00far\x00",
		symbols: []elf.Sym64{
			{}, symbol(1, codeBase+codeAt+2, function), symbol(9, codeBase+codeAt, function), symbol(9, codeBase+codeAt+2, function),
			symbol(15, dataBase+dataAt, object), symbol(20, dataBase+dataAt, function), symbol(25, 1<<40, object),
		},
	}).bytes()
	read := func(specs ...string) *File {
		t.Helper()
		var pairs []PairSpec
		for _, s := range specs {
			p, err := ParsePair(s)
			if err != nil {
				t.Fatal(err)
			}
			pairs = append(pairs, p)
		}
		f, err := ReadFor(bytes.NewReader(b), int64(len(b)), pairs)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	f := read("p:a/b;attr.x=var(text):str;attr.y=var(far):str;attr.z=var(gone):str;reset=cleanup(),twice(),data(),gone()", "q:a/b;reset=text()")
	if len(f.Sites) != 2 {
		t.Fatalf("sites %+v: want the note's and cleanup", f.Sites)
	}
	note, cleanup := f.Sites[0], f.Sites[1]
	if diff := cmp.Diff(map[string]uint64{"text": dataBase + dataAt}, note.Variables); diff != "" {
		t.Errorf("variables (-want +got):\n%s", diff)
	}
	if cleanup.Provider != "p" || cleanup.Name != "cleanup()" || cleanup.Offset != codeAt+2 || cleanup.Location != codeBase+codeAt+2 ||
		!cleanup.IsFunction() || note.IsFunction() {
		t.Errorf("function: %+v, note: %+v", cleanup, note)
	}
	p, err := ParsePair("p:a/b;reset=cleanup(),gone()")
	if err != nil {
		t.Fatal(err)
	}
	c := Choose(f.Sites, []PairSpec{p})[0]
	if diff := cmp.Diff([]string{"gone()"}, c.MissingFunctions(f.Sites)); diff != "" {
		t.Errorf("missing functions (-want +got):\n%s", diff)
	}
	plain, err := Read(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(plain, read("q:a/b;reset=cleanup()")); diff != "" {
		t.Errorf("a pair of another provider changes what is read (-Read +ReadFor):\n%s", diff)
	}
}
