// SPDX-License-Identifier: Apache-2.0

package usdt

import (
	"debug/elf"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/phasetrace/phasetrace/internal/probe"

	"github.com/google/go-cmp/cmp"
)

func TestReadSites(t *testing.T) {
	const at, sema = codeBase + codeAt, dataBase + dataAt
	nops := [][]byte{{0x90}, nop5, nop10, append([]byte{0x90}, nop10...), {0xc3}}
	kinds := []probe.Nop{probe.Nop1, probe.Nop5, probe.Nop10, probe.Nop1Then10, probe.NopNone}
	for i, code := range nops {
		e := testELF{code: code, notes: sdtNote(at, 0, 0, "p", "n", "8@%rax")}
		f, err := readBytes(e.bytes())
		if err != nil || len(f.Sites) != 1 {
			t.Fatalf("%d sites, error %v", len(f.Sites), err)
		}
		want := Site{Provider: "p", Name: "n", Location: at, Offset: codeAt, ArgText: "8@%rax", Nop: kinds[i],
			Args: []probe.Operand{{Text: "8@%rax", Size: 8, Kind: probe.OperandReg, Base: probe.RAX}}}
		if diff := cmp.Diff(want, f.Sites[0]); diff != "" {
			t.Error(diff)
		}
	}
	for name, test := range map[string]struct {
		base, noteBase, loc, sema uint64
		wantOffset, wantRefCtr    uint64
	}{
		"not moved":           {0x1000, 0x1000, at, sema, codeAt, dataAt},
		"prelinked upwards":   {0x3000, 0x1000, at - 0x2000, sema - 0x2000, codeAt, dataAt},
		"prelinked downwards": {0x1000, 0x3000, at + 0x2000, sema + 0x2000, codeAt, dataAt},
		"note base is 0":      {0x3000, 0, at, sema, codeAt, dataAt},
		"no base section":     {0, 0x3000, at, sema, codeAt, dataAt},
		"no semaphore":        {0x3000, 0x1000, at - 0x2000, 0, codeAt, 0},
	} {
		e := testELF{base: test.base, notes: sdtNote(test.loc, test.noteBase, test.sema, "p", "n", "")}
		f, err := readBytes(e.bytes())
		if err != nil || len(f.Sites) != 1 || len(f.Problems) != 0 {
			t.Fatalf("%s: %+v, error %v", name, f, err)
		}
		if s := f.Sites[0]; s.Offset != test.wantOffset || s.RefCtr != test.wantRefCtr {
			t.Errorf("%s: offset %#x, semaphore at %#x; want %#x, %#x", name, s.Offset, s.RefCtr, test.wantOffset, test.wantRefCtr)
		}
	}
}

// TestReadKeepsGoing: each defect costs what it touches and is reported.
func TestReadKeepsGoing(t *testing.T) {
	const at, sema = codeBase + codeAt, dataBase + dataAt
	good := sdtNote(at, 0, sema, "good", "probe", "8@%rax")
	many := strings.TrimSpace(strings.Repeat("8@%rax ", MaxArgs+1))
	for name, test := range map[string]struct {
		note    []byte
		sites   int // with the good one that precedes
		problem string
	}{
		"code not in the file":       {sdtNote(0x1000, 0, 0, "p", "n", ""), 1, "p:n: skip a site at 0x1000: not in executable code"},
		"code in data":               {sdtNote(sema, 0, 0, "p", "n", ""), 1, "not in executable code"},
		"semaphore nowhere":          {sdtNote(at, 0, 0x1000, "p", "n", ""), 2, "p:n: semaphore at 0x1000"},
		"semaphore in code":          {sdtNote(at, 0, at, "p", "n", ""), 2, "cannot be enabled"},
		"semaphore in zeroed memory": {sdtNote(at, 0, dataBase+dataAt+64, "p", "n", ""), 2, "cannot be enabled"},
		"semaphore half in the file": {sdtNote(at, 0, dataBase+dataAt+63, "p", "n", ""), 2, "cannot be enabled"},
		"thirteen arguments":         {sdtNote(at, 0, 0, "p", "n", many), 2, "p:n: more than 12 arguments"},
		"no provider":                {sdtNote(at, 0, 0, "", "n", ""), 1, "without a provider or a name"},
		"no name":                    {sdtNote(at, 0, 0, "p", "", ""), 1, "without a provider or a name"},
		"texts without an end":       {rawNote("stapsdt", 3, at, 0, 0, "p\x00nnn"), 1, "1 of the three texts"},
		"long name":                  {sdtNote(at, 0, 0, "p", strings.Repeat("n", maxProbeName+1), ""), 1, "longer than 256 bytes"},
		"long arguments":             {sdtNote(at, 0, 0, "p", "n", strings.Repeat(" ", maxArgText+1)), 2, "p:n: arguments of 16385 bytes are left out"},
		"another owner":              {rawNote("GNU", 3, at, 0, 0, "p\x00n\x00\x00"), 1, `owner "GNU"`},
		"another type":               {rawNote("stapsdt", 4, at, 0, 0, "p\x00n\x00\x00"), 1, "type 4"},
		"short descriptor":           {[]byte("\x08\x00\x00\x00\x08\x00\x00\x00\x03\x00\x00\x00stapsdt\x0012345678"), 1, "8 bytes: too short"},
		"name size beyond the end":   {[]byte("\xff\xff\xff\xff\x08\x00\x00\x00\x03\x00\x00\x00stapsdt\x00"), 1, "beyond its section"},
		"descriptor beyond the end":  {[]byte("\x08\x00\x00\x00\xff\xff\xff\xff\x03\x00\x00\x00stapsdt\x00"), 1, "beyond its section"},
		"header cut":                 {[]byte("\x08\x00\x00\x00"), 1, "beyond its section"},
		"address wraps":              {sdtNote(math.MaxUint64, 0, 0, "p", "n", ""), 1, "not in executable code"},
	} {
		e := testELF{notes: append(slices.Clone(good), test.note...)}
		f, err := readBytes(e.bytes())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(f.Sites) != test.sites || f.Sites[0].Provider != "good" || f.Sites[0].RefCtr != dataAt {
			t.Errorf("%s: sites %+v, want %d", name, f.Sites, test.sites)
		}
		if len(f.Problems) != 1 || !strings.Contains(f.Problems[0].Error(), test.problem) {
			t.Errorf("%s: problems %v, want one with %q", name, f.Problems, test.problem)
		}
	}
}

// TestReadSymbols: operands with symbols, against a table made for it.
func TestReadSymbols(t *testing.T) {
	data := func(name uint32, addr uint64) elf.Sym64 {
		return elf.Sym64{Name: name, Value: addr, Shndx: 1, Info: byte(elf.STT_OBJECT)}
	}
	const text = "-4@8+var(%rip) 8@twice(%rip) 8@gone(%rip) 8@far(%rip) 8@tls(%rip) 8@%rax 4@same(%rip) 4@var(,%rbx,4) 8@undefined(%rip)"
	names := "\x00var\x00twice\x00far\x00tls\x00same\x00undefined\x00"
	at := func(s string) uint32 { return uint32(strings.Index(names, "\x00"+s+"\x00") + 1) }
	tls := data(at("tls"), dataBase)
	tls.Info = byte(elf.STT_TLS)
	undefined := data(at("undefined"), 0)
	undefined.Shndx = uint16(elf.SHN_UNDEF)
	e := testELF{
		notes: sdtNote(codeBase+codeAt, 0, 0, "p", "n", text), names: names,
		symbols: []elf.Sym64{{}, data(at("var"), dataBase+16), data(at("twice"), dataBase), data(at("twice"), dataBase+8),
			data(at("far"), 0x10), tls, data(at("same"), dataBase), data(at("same"), dataBase), undefined, data(9999, dataBase)},
	}
	for _, typ := range []elf.Type{elf.ET_EXEC, elf.ET_DYN} {
		e.typ = typ
		f, err := readBytes(e.bytes())
		if err != nil || len(f.Sites) != 1 || len(f.Problems) != 0 {
			t.Fatalf("%+v, error %v", f, err)
		}
		var got []string
		for _, a := range f.Sites[0].Args {
			switch {
			case errors.Is(a.Err, errAmbiguous):
				got = append(got, "ambiguous")
			case errors.Is(a.Err, errNoSymbol):
				got = append(got, "unknown")
			case errors.Is(a.Err, errOutside):
				got = append(got, "outside")
			case errors.Is(a.Err, errSymbolBase):
				got = append(got, "not fixed")
			default:
				got = append(got, formatArg(probe.AMD64, a))
			}
		}
		indexed := map[elf.Type]string{elf.ET_EXEC: "4@6291472(,%rbx,4)", elf.ET_DYN: "not fixed"}[typ]
		want := []string{"-4@s600018(%rip)", "ambiguous", "unknown", "outside", "unknown", "8@%rax", "4@s600000(%rip)", indexed, "unknown"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%v: %s", typ, diff)
		}
	}
	e.symbols = nil // stripped
	f, err := readBytes(e.bytes())
	if err != nil || len(f.Sites) != 1 || !errors.Is(f.Sites[0].Args[0].Err, errNoSymbol) || f.Sites[0].Args[5].Err != nil {
		t.Errorf("stripped: %+v, error %v", f, err)
	}
}

// TestReadNoSections: probes that cannot be found are not passed over in
// silence.
func TestReadNoSections(t *testing.T) {
	b := (&testELF{}).bytes()
	copy(b[0x28:0x30], make([]byte, 8)) // e_shoff
	f, err := readBytes(b)
	if err != nil || len(f.Sites) != 0 || len(f.Problems) != 1 || !strings.Contains(f.Problems[0].Error(), "no section headers") {
		t.Errorf("%+v, error %v", f, err)
	}
}

// TestReadDynamicTrouble: strings that the dynamic section misplaces are left
// out, and the probes stay.
func TestReadDynamicTrouble(t *testing.T) {
	e := testELF{notes: sdtNote(codeBase+codeAt, 0, 0, "p", "n", ""), dynamic: []elf.Dyn64{
		{Tag: int64(elf.DT_STRTAB), Val: dataBase + dataAt}, {Tag: int64(elf.DT_NEEDED), Val: 0},
		{Tag: int64(elf.DT_NEEDED), Val: 1 << 40}, {Tag: int64(elf.DT_SONAME), Val: math.MaxUint64}, {Tag: int64(elf.DT_RUNPATH), Val: 5000}, {}}}
	f, err := readBytes(e.bytes())
	if err != nil || len(f.Sites) != 1 || len(f.Needed) != 0 || len(f.RunPath) != 0 {
		t.Errorf("%+v, error %v", f, err)
	}
}

func TestReadRefuses(t *testing.T) {
	valid := (&testELF{notes: sdtNote(codeBase+codeAt, 0, 0, "p", "n", "")}).bytes()
	patch := func(at int, b ...byte) []byte {
		c := slices.Clone(valid)
		copy(c[at:], b)
		return c
	}
	for name, test := range map[string]struct {
		file []byte
		is   error
	}{
		"empty":               {nil, ErrNotELF},
		"text":                {[]byte("#!/bin/sh\nexec something longer than an ELF identification\n"), ErrNotELF},
		"identification only": {valid[:16], io.ErrUnexpectedEOF},
		"32-bit":              {patch(4, 1), ErrUnsupportedELF},
		"big-endian":          {patch(5, 2), ErrUnsupportedELF},
		"another machine":     {patch(18, 0xf3), ErrUnsupportedELF},
		"relocatable":         {patch(16, 1), ErrUnsupportedELF},
		"segments cut":        {valid[:100], io.ErrUnexpectedEOF},
		"sections cut":        {valid[:len(valid)-1], io.ErrUnexpectedEOF},
	} {
		if f, err := readBytes(test.file); !errors.Is(err, test.is) || f != nil {
			t.Errorf("%s: %v, error %v; want %v", name, f, err, test.is)
		}
	}
	if _, err := Read(strings.NewReader(""), -1); err == nil {
		t.Error("negative size: no error")
	}
	if _, err := Read(panicReader{}, 1000); err == nil || !strings.Contains(err.Error(), "not foreseen") {
		t.Errorf("panicking reader: %v", err)
	}
	if _, err := Read(failReader{}, 1000); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("failing reader: %v", err)
	}
}

type panicReader struct{}

func (panicReader) ReadAt([]byte, int64) (int, error) { panic("boom") }

type failReader struct{}

func (failReader) ReadAt([]byte, int64) (int, error) { return 0, io.ErrClosedPipe }

func TestStrings(t *testing.T) {
	for want, got := range map[string]string{
		"amd64": probe.AMD64.String(), "arm64": probe.ARM64.String(), "Arch(0)": probe.Arch(0).String(),
		"rax": probe.RAX.Name(probe.AMD64), "r15": probe.R15.Name(probe.AMD64), "x29": probe.X29.Name(probe.ARM64), "sp": probe.SP.Name(probe.ARM64), "Reg(31)": probe.SP.Name(probe.AMD64),
		"mem": probe.OperandMem.String(), "OperandKind(9)": probe.OperandKind(9).String(), "nop1+nop10": probe.Nop1Then10.String(), "Nop(9)": probe.Nop(9).String(),
		"str(argM)": TypeStrLen.String(), "int": TypeInt.String(), "--pair": OriginFlag.String(), "naming rule": OriginRule.String(),
		"x:y: " + io.EOF.Error(): Problem{"x:y", io.EOF}.Error(),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if !errors.Is(Problem{"x:y", io.EOF}, io.EOF) {
		t.Error("a problem hides its cause")
	}
	if msg := (&OperandError{strings.Repeat("x", 1000), errSize}).Error(); len(msg) > 200 {
		t.Errorf("error of %d bytes", len(msg))
	}
}

// TestReadCode: where section headers name the code, a location outside it is
// none, and one below it is what the linker left of a function it dropped.
func TestReadCode(t *testing.T) {
	const at = codeBase + codeAt
	code := func(addr, size uint64) testSection {
		return testSection{".text", elf.Section64{Type: uint32(elf.SHT_PROGBITS), Addr: addr, Size: size,
			Flags: uint64(elf.SHF_ALLOC | elf.SHF_EXECINSTR)}, nil}
	}
	for name, test := range map[string]struct {
		sections []testSection
		problems int
		sites    int
	}{
		"no section of code": {nil, 0, 1},
		"in one":             {[]testSection{code(at-8, 16)}, 0, 1},
		"in the second":      {[]testSection{code(at, 1), code(at-16, 16)}, 0, 1},
		"dropped":            {[]testSection{code(at+1, 16)}, 0, 0},
		"between":            {[]testSection{code(at+1, 16), code(at-16, 16)}, 1, 0},
		"behind":             {[]testSection{code(at-16, 16), code(at-16, 8)}, 1, 0},
		"of no size":         {[]testSection{code(at, 0), code(at-16, math.MaxUint64)}, 0, 1},
	} {
		f, err := readBytes((&testELF{notes: sdtNote(at, 0, 0, "p", "n", ""), sections: test.sections}).bytes())
		if err != nil || len(f.Sites) != test.sites || len(f.Problems) != test.problems {
			t.Errorf("%s: %+v, error %v; want %d sites, %d problems", name, f, err, test.sites, test.problems)
		}
	}
}
