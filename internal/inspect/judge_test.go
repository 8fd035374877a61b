// SPDX-License-Identifier: Apache-2.0

package inspect

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/phasetrace/phasetrace/internal/probe"

	"github.com/phasetrace/phasetrace/internal/usdt"
)

// fakeKernel refuses five-byte nops and uses the ten-byte nop of two, except at
// offset 0.
type fakeKernel struct{}

func (fakeKernel) Refuses(_ uint64, n probe.Nop) string {
	if n == probe.Nop5 {
		return "unsafe here"
	}
	return ""
}

func (fakeKernel) Place(offset uint64, n probe.Nop) (uint64, probe.Nop) {
	switch {
	case n != probe.Nop1Then10:
		return offset, n
	case offset == 0:
		return offset, probe.Nop1
	}
	return offset + 1, probe.Nop10
}

// The table and the JSON form say which of two nops is used.
func TestUsedNop(t *testing.T) {
	l := &Listing{}
	l.add(File{Path: "/app", ELF: &usdt.File{Sites: []usdt.Site{
		{Provider: "app", Name: "a", Nop: probe.Nop1Then10}, {Provider: "app", Name: "b", Offset: 16, Nop: probe.Nop1Then10},
		{Provider: "app", Name: "c", Offset: 32, Nop: probe.Nop10},
	}}})
	l.Judge(fakeKernel{})
	var table, out bytes.Buffer
	if err := errors.Join(WriteTable(&table, l, false, false), WriteJSON(&out, l, false)); err != nil {
		t.Fatal(err)
	}
	var doc Document
	if err := json.Unmarshal(out.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct{ used, cell string }{
		{"nop1", " nop1 of nop1+nop10 "}, {"nop10", " nop10 of nop1+nop10 "}, {"", " nop10  "},
	} {
		if got := doc.Files[0].Sites[i].NopUsed; got != want.used {
			t.Errorf("site %d: nop_used %q, want %q", i, got, want.used)
		}
		if !strings.Contains(table.String(), want.cell) {
			t.Errorf("no %q in the table:\n%s", want.cell, &table)
		}
	}
}

// What a trace on this kernel leaves alone is not shown as traced.
func TestJudge(t *testing.T) {
	refuse := fakeKernel{}.Refuses
	for _, tt := range []struct {
		name        string
		enter, exit []probe.Nop
		chosen      bool
		why, warned string
	}{
		{"nothing to refuse", []probe.Nop{probe.Nop1}, []probe.Nop{probe.Nop1, probe.NopNone}, true, "", ""},
		{"no enter left", []probe.Nop{probe.Nop5}, []probe.Nop{probe.Nop1}, false, "no enter can be attached: unsafe here", ""},
		{"no exit left", []probe.Nop{probe.Nop1}, []probe.Nop{probe.Nop5, probe.Nop5}, false, "no exit can be attached: unsafe here", ""},
		{"some left", []probe.Nop{probe.Nop1, probe.Nop5}, []probe.Nop{probe.Nop5, probe.Nop1}, true, "", "2 sites left alone, for the first: unsafe here"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			elf := &usdt.File{}
			add := func(name string, nops []probe.Nop) {
				for _, n := range nops {
					elf.Sites = append(elf.Sites, usdt.Site{Provider: "app", Name: name, Nop: n})
				}
			}
			add("work__start", tt.enter)
			add("work__done", tt.exit)
			l := &Listing{}
			l.add(File{Path: "/app", ELF: elf})
			l.Choices = usdt.Choose(l.Sites, nil)
			if l.Chosen() != 1 {
				t.Fatal("the pair is not chosen by itself")
			}
			l.Judge(fakeKernel{})
			c := &l.Choices[0]
			if c.Chosen != tt.chosen || tt.why != "" && c.Why != tt.why || slices.Contains(c.Warnings, tt.warned) != (tt.warned != "") {
				t.Errorf("chosen %v: %s; warnings %q", c.Chosen, c.Why, c.Warnings)
			}
			var out bytes.Buffer
			if err := WriteJSON(&out, l, false); err != nil {
				t.Fatal(err)
			}
			var doc Document
			if err := json.Unmarshal(out.Bytes(), &doc); err != nil {
				t.Fatal(err)
			}
			for i, s := range doc.Files[0].Sites {
				refused := refuse(0, elf.Sites[i].Nop)
				if s.Refused != refused || s.Traced != (tt.chosen && refused == "") {
					t.Errorf("site %d, %s: traced %v, refused %q", i, s.Nop, s.Traced, s.Refused)
				}
			}
			out.Reset()
			if err := WriteTable(&out, l, true, false); err != nil {
				t.Fatal(err)
			}
			if tt.why+tt.warned != "" && !strings.Contains(out.String(), "unsafe here") {
				t.Errorf("the table does not say why:\n%s", &out)
			}
		})
	}
}
