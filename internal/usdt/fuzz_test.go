// SPDX-License-Identifier: Apache-2.0

package usdt

import (
	"bytes"
	"debug/elf"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/phasetrace/phasetrace/internal/probe"

	"github.com/google/go-cmp/cmp"
)

// The committed corpora in testdata/fuzz are run by plain go test too.

// FuzzRead: whatever the bytes, what comes out can be relied upon.
func FuzzRead(f *testing.F) {
	const at, sema = codeBase + codeAt, dataBase + dataAt
	note := sdtNote(at, 0x3000, sema, "provider", "name", "-4@8+var(%rip) 8@%rax 8@$5")
	f.Add((&testELF{code: []byte{0x90}, notes: note, base: 0x3000, names: "\x00var\x00",
		symbols: []elf.Sym64{{}, {Name: 1, Value: dataBase, Shndx: 1, Info: 1}}}).bytes())
	f.Add((&testELF{machine: elf.EM_AARCH64, typ: elf.ET_DYN, code: nopARM, notes: sdtNote(at, 0, 0, "p", "n", "8@[x0, 8] -4@w1")}).bytes())
	f.Fuzz(checkFile)
}

func checkFunctions(t *testing.T, b []byte) {
	in, size := bytes.NewReader(b), int64(len(b))
	f, err := FindFunctions(in, size, "var", "x")
	if err != nil && strings.Contains(err.Error(), "not foreseen") {
		t.Fatal(err)
	}
	for name, at := range f.Named {
		if at >= uint64(size) {
			t.Errorf("%s at %#x, outside of the file", name, at)
		}
	}
	named := newPair(OriginFlag, "provider", "name", "done")
	named.Resets, named.Attrs = []string{"x()", "var()"}, []AttrSpec{{Arg: NoArg, Type: TypeStr, Variable: "var"}}
	traced, err := ReadFor(in, size, []PairSpec{named})
	if err != nil && (traced != nil || strings.Contains(err.Error(), "not foreseen")) {
		t.Fatalf("%v, error %v", traced, err)
	}
	if traced != nil {
		for _, s := range traced.Sites {
			if s.Offset >= uint64(size) {
				t.Errorf("%s at %#x, outside of the file", s.probe(), s.Offset)
			}
		}
	}
	if has, _ := HasText(in, size, "provider"); has && !bytes.Contains(b, []byte("provider")) {
		t.Error("found a text that is not there")
	}
}

// FuzzNotes is FuzzRead with the notes alone to vary: headers are hard to hit.
func FuzzNotes(f *testing.F) {
	const at, sema = codeBase + codeAt, dataBase + dataAt
	f.Add(uint16(elf.EM_X86_64), sdtNote(at, 0x3000, sema, "provider", "name", "-4@8+var(%rip) 8@%rax 8@$5"))
	f.Add(uint16(elf.EM_AARCH64), append(sdtNote(at, 0, 0, "p", "n", "8@[x0, 8]"), sdtNote(at, 0, 0, "p", "m__start", "")...))
	f.Add(uint16(elf.EM_X86_64), rawNote("GNU", 3, 1, 2, 3, "x"))
	f.Fuzz(func(t *testing.T, machine uint16, notes []byte) {
		e := testELF{machine: elf.Machine(machine), code: []byte{0x90}, notes: notes, base: 0x3000, names: "\x00var\x00",
			symbols: []elf.Sym64{{}, {Name: 1, Value: dataBase, Shndx: 1, Info: 1}}}
		checkFile(t, e.bytes())
	})
}

func checkFile(t *testing.T, b []byte) {
	checkFunctions(t, b)
	file, err := readBytes(b)
	if err != nil {
		if file != nil || strings.Contains(err.Error(), "not foreseen") {
			t.Fatalf("%v, error %v", file, err)
		}
		return
	}
	if len(file.Problems) > maxProblems+1 || len(file.Sites) > maxSites {
		t.Errorf("%d problems, %d sites", len(file.Problems), len(file.Sites))
	}
	for _, s := range file.Sites {
		if s.Offset >= uint64(len(b)) || s.RefCtr != 0 && s.RefCtr+2 > uint64(len(b)) || s.RefCtr != 0 && s.Semaphore == 0 {
			t.Errorf("site outside of the file: %+v", s)
		}
		if s.Provider == "" || s.Name == "" || len(s.Args) > MaxArgs {
			t.Errorf("bad site: %+v", s)
		}
		for _, a := range s.Args {
			checkArg(t, file.Arch, a)
		}
	}
	again, err := readBytes(b)
	if err != nil || fmt.Sprintf("%+v", again) != fmt.Sprintf("%+v", file) {
		t.Errorf("two reads differ: %+v, %+v, error %v", file, again, err)
	}
	ByRule(file.Sites)
	Choose(file.Sites, nil)
}

// checkArg holds an argument to what its documentation says.
func checkArg(t *testing.T, arch probe.Arch, a probe.Operand) {
	t.Helper()
	if (a.Kind == probe.OperandUnsupported) != (a.Err != nil) || a.Text == "" {
		t.Fatalf("%+v", a)
	}
	if a.Err != nil {
		if want := (probe.Operand{Text: a.Text, Size: a.Size, Signed: a.Signed, Err: a.Err}); a != want {
			t.Errorf("half decoded: %+v", a)
		}
		return
	}
	if a.Size != 1 && a.Size != 2 && a.Size != 4 && a.Size != 8 {
		t.Errorf("size of %+v", a)
	}
	if a.Base > 31 || arch == probe.AMD64 && (a.Base > probe.R15 || a.Index > probe.R15) || a.Shift > 3 && !(a.Kind == probe.OperandReg && a.Shift == 8) {
		t.Errorf("registers of %+v", a)
	}
	text := formatArg(arch, a)
	again, err := ParseArgs(arch, text, Symbols{Fixed: true, Lookup: func(name string) (uint64, error) {
		return strconv.ParseUint(name[1:], 16, 64)
	}})
	if err != nil || len(again) != 1 {
		t.Fatalf("%q, from %q: %v, error %v", text, a.Text, again, err)
	}
	again[0].Text = a.Text
	if diff := cmp.Diff(a, again[0]); diff != "" {
		t.Errorf("%q, written as %q, differs:\n%s", a.Text, text, diff)
	}
}

// FuzzOperands: an operand that is decoded, written back in canonical form by
// independent code and decoded again is the same.
func FuzzOperands(f *testing.F) {
	for _, s := range []string{"8@%rax -4@-20(%rbp)", "1@%ah 8@$-1", "8@16(%rax,%rbx,4)", "-4@40+s1f(%rip)", "8f@%xmm0", "4@s10+4(,%rcx,8)"} {
		f.Add(false, s)
	}
	for _, s := range []string{"8@x0 -4@[sp, 60]", "4@w19 8@xzr", "8@[x0, x1, lsl 3]", "-4@#-1 8@5"} {
		f.Add(true, s)
	}
	f.Fuzz(func(t *testing.T, arm bool, text string) {
		arch := probe.AMD64
		if arm {
			arch = probe.ARM64
		}
		args, err := ParseArgs(arch, text, Symbols{Fixed: true, Lookup: func(name string) (uint64, error) {
			if name[0] != 's' {
				return 0, errNoSymbol
			}
			return strconv.ParseUint(name[1:], 16, 31)
		}})
		if len(args) > MaxArgs || err != nil && len(args) != MaxArgs {
			t.Fatalf("%d arguments, error %v", len(args), err)
		}
		rest := text
		for _, a := range args {
			// Every argument is a part of the text, in order.
			_, after, ok := strings.Cut(rest, a.Text)
			if !ok {
				t.Fatalf("%q is not in %q", a.Text, rest)
			}
			rest = after
			checkArg(t, arch, a)
		}
	})
}

// FuzzParsePair: a pair that is accepted, written and read again is the same.
func FuzzParsePair(f *testing.F) {
	for _, p := range Catalogue() {
		f.Add(p.String())
	}
	f.Add("p:a/b,c;name=arg1:str(arg2);key=arg3")
	f.Add("+p:a/b;key=arg0+arg7/arg1+arg2;exit.attr.rc=arg3:hex")
	f.Add("p:a/b;name=a/b;attr.x=arg0:hex;reentrant=false;lane=l;reset=c,d")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePair(s)
		if err != nil {
			if err.Error() == "" || len(err.Error()) > 4096 {
				t.Errorf("error of %d bytes", len(err.Error()))
			}
			return
		}
		if p.Provider == "" || p.Enter == "" || len(p.Exits) == 0 || (p.Name == "") != (p.NameArg != nil) {
			t.Errorf("%q: incomplete: %+v", s, p)
		}
		again, err := ParsePair(p.String())
		if diff := cmp.Diff(p, again); err != nil || diff != "" {
			t.Errorf("%q, written as %q: error %v\n%s", s, p, err, diff)
		}
	})
}
