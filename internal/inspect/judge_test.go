// SPDX-License-Identifier: Apache-2.0

package inspect

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/phasetrace/phasetrace/internal/probe"

	"github.com/phasetrace/phasetrace/internal/usdt"
)

// What a trace on this kernel leaves alone is not shown as traced.
func TestJudge(t *testing.T) {
	refuse := func(n probe.Nop) string {
		if n == probe.Nop5 {
			return "unsafe here"
		}
		return ""
	}
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
			l.Judge(refuse)
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
				refused := refuse(elf.Sites[i].Nop)
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
