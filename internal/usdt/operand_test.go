// SPDX-License-Identifier: Apache-2.0

package usdt

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/phasetrace/phasetrace/internal/probe"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// testSymbols knows a few symbols, one of them ambiguous.
func testSymbols(fixed bool) Symbols {
	return Symbols{Fixed: fixed, Lookup: func(name string) (uint64, error) {
		switch name {
		case "sym", "CheckpointStats":
			return 0x1000, nil
		case "buf.1234", "_Z3foov":
			return 0x2000, nil
		case "twice":
			return 0, errAmbiguous
		}
		return 0, errNoSymbol
	}}
}

func mem(size int, signed bool, base probe.Reg, disp int64) probe.Operand {
	return probe.Operand{Size: size, Signed: signed, Kind: probe.OperandMem, Base: base, HasBase: true, Disp: disp}
}

func sib(size int, base, index probe.Reg, shift uint8, disp int64) probe.Operand {
	return probe.Operand{Size: size, Kind: probe.OperandMem, Base: base, HasBase: true, Index: index, HasIndex: true, Shift: shift, Disp: disp}
}

func reg(size int, signed bool, r probe.Reg) probe.Operand {
	return probe.Operand{Size: size, Signed: signed, Kind: probe.OperandReg, Base: r}
}

func constant(size int, signed bool, v int64) probe.Operand {
	return probe.Operand{Size: size, Signed: signed, Kind: probe.OperandConst, Const: v}
}

func sym(size int, signed bool, addr uint64) probe.Operand {
	return probe.Operand{Size: size, Signed: signed, Kind: probe.OperandSym, Addr: addr}
}

// TestOperands has every form that compilers emit, for both architectures.
func TestOperands(t *testing.T) {
	amd64 := map[string]probe.Operand{
		"8@$0":                         constant(8, false, 0),
		"-4@$-1":                       constant(4, true, -1),
		"4@$-1":                        constant(4, false, 0xffffffff),
		"1@$-1":                        constant(1, false, 255),
		"-1@$255":                      constant(1, true, -1),
		"-2@$0x8000":                   constant(2, true, -32768),
		"4@$010":                       constant(4, false, 8),
		"8@$1844674407370955161" + "5": constant(8, false, -1),
		"-8@$-9223372036854775808":     constant(8, true, -1<<63),
		"8@$2+3":                       constant(8, false, 5),

		"8@%rax":  reg(8, false, probe.RAX),
		"-8@%r15": reg(8, true, probe.R15),
		"4@%eax":  reg(4, false, probe.RAX),
		"-4@%r9d": reg(4, true, probe.R9),
		"2@%ax":   reg(2, false, probe.RAX),
		"2@%r10w": reg(2, false, probe.R10),
		"1@%al":   reg(1, false, probe.RAX),
		"1@%dil":  reg(1, false, probe.RDI),
		"1@%r8b":  reg(1, false, probe.R8),
		"1@%ah":   {Size: 1, Kind: probe.OperandReg, Base: probe.RAX, Shift: 8},
		"-1@%dh":  {Size: 1, Signed: true, Kind: probe.OperandReg, Base: probe.RDX, Shift: 8},
		"4@%rbx":  reg(4, false, probe.RBX),
		"1@%esi":  reg(1, false, probe.RSI),
		"8@%eax":  reg(4, false, probe.RAX),
		"8@%ch":   {Size: 1, Kind: probe.OperandReg, Base: probe.RCX, Shift: 8},
		"8@%rsp":  reg(8, false, probe.RSP),

		"8@(%rsp)":           mem(8, false, probe.RSP, 0),
		"-4@-20(%rbp)":       mem(4, true, probe.RBP, -20),
		"4@60(%rax)":         mem(4, false, probe.RAX, 60),
		"2@0x10(%r12)":       mem(2, false, probe.R12, 16),
		"8@-8+16(%rsp)":      mem(8, false, probe.RSP, 8),
		"8@(%rax,%rbx,8)":    sib(8, probe.RAX, probe.RBX, 3, 0),
		"8@16(%rax,%rbx,4)":  sib(8, probe.RAX, probe.RBX, 2, 16),
		"4@-16(%rax,%rbx)":   sib(4, probe.RAX, probe.RBX, 0, -16),
		"4@(%rax,%r8)":       sib(4, probe.RAX, probe.R8, 0, 0),
		"1@7(%r13,%r14,2)":   sib(1, probe.R13, probe.R14, 1, 7),
		"1@7(%r13, %r14, 1)": sib(1, probe.R13, probe.R14, 0, 7),
		"8@8(,%rbx,8)":       {Size: 8, Kind: probe.OperandMem, Index: probe.RBX, HasIndex: true, Shift: 3, Disp: 8},

		"-4@sym(%rip)":                sym(4, true, 0x1000),
		"-4@40+CheckpointStats(%rip)": sym(4, true, 0x1028),
		"8@CheckpointStats+40(%rip)":  sym(8, false, 0x1028),
		"8@sym-8(%rip)":               sym(8, false, 0xff8),
		"8@-8+sym(%rip)":              sym(8, false, 0xff8),
		"1@8+sym+8(%rip)":             sym(1, false, 0x1010),
		"1@buf.1234(%rip)":            sym(1, false, 0x2000),
		"1@_Z3foov(%rip)":             sym(1, false, 0x2000),
		"4@sym":                       sym(4, false, 0x1000),
		"4@sym+4":                     sym(4, false, 0x1004),
	}
	arm64 := map[string]probe.Operand{
		"8@0":                    constant(8, false, 0),
		"-4@-1":                  constant(4, true, -1),
		"-4@#-1":                 constant(4, true, -1),
		"4@#0xff":                constant(4, false, 255),
		"8@xzr":                  constant(8, false, 0),
		"-4@wzr":                 constant(4, true, 0),
		"8@x0":                   reg(8, false, probe.X0),
		"-8@x30":                 reg(8, true, probe.X30),
		"4@w19":                  reg(4, false, 19),
		"4@x19":                  reg(4, false, 19),
		"8@w19":                  reg(4, false, 19),
		"8@sp":                   reg(8, false, probe.SP),
		"8@fp":                   reg(8, false, probe.X29),
		"8@lr":                   reg(8, false, probe.X30),
		"8@[x0]":                 mem(8, false, probe.X0, 0),
		"8@[sp]":                 mem(8, false, probe.SP, 0),
		"-4@[sp, 60]":            mem(4, true, probe.SP, 60),
		"-4@[sp,60]":             mem(4, true, probe.SP, 60),
		"-4@[x29, -20]":          mem(4, true, probe.X29, -20),
		"4@[x29, #-20]":          mem(4, false, probe.X29, -20),
		"8@[x0, x1]":             sib(8, 0, 1, 0, 0),
		"8@[x0, x1, lsl 3]":      sib(8, 0, 1, 3, 0),
		"8@[x0, x1, lsl #3]":     sib(8, 0, 1, 3, 0),
		"8@[ x0 , x1 , LSL #2 ]": sib(8, 0, 1, 2, 0),
		"8@[x0, xzr]":            mem(8, false, probe.X0, 0),
	}
	check := func(arch probe.Arch, table map[string]probe.Operand) {
		for text, want := range table {
			want.Text = text
			args, err := ParseArgs(arch, text, testSymbols(false))
			if err != nil || len(args) != 1 {
				t.Errorf("%v %q: %d arguments, error %v", arch, text, len(args), err)
				continue
			}
			if diff := cmp.Diff(want, args[0], cmpopts.EquateErrors()); diff != "" {
				t.Errorf("%v %q (-want +got):\n%s", arch, text, diff)
			}
		}
	}
	check(probe.AMD64, amd64)
	check(probe.ARM64, arm64)
}

// TestFixedSymbols: where a file is loaded at its stated addresses, a symbol
// can be the displacement of an indexed operand.
func TestFixedSymbols(t *testing.T) {
	const text = "4@sym+8(,%rax,4)"
	args, _ := ParseArgs(probe.AMD64, text, testSymbols(true))
	want := probe.Operand{Text: text, Size: 4, Kind: probe.OperandMem, Index: probe.RAX, HasIndex: true, Shift: 2, Disp: 0x1008}
	if diff := cmp.Diff([]probe.Operand{want}, args); diff != "" {
		t.Error(diff)
	}
	if args, _ = ParseArgs(probe.AMD64, text, testSymbols(false)); args[0].Err == nil {
		t.Errorf("decoded as %+v in a file that can be loaded anywhere", args[0])
	}
}

// TestUnsupportedOperands: what cannot be decoded says why, quotes the
// operand, and leaves its neighbours alone.
func TestUnsupportedOperands(t *testing.T) {
	amd64 := map[string]string{
		"8f@%xmm0":                  "floating",
		"8@%xmm0":                   "floating",
		"-4f@4(%rsp)":               "floating",
		"16@%xmm0":                  "size",
		"3@%eax":                    "size",
		"0@%eax":                    "size",
		"@%eax":                     "size",
		"%eax":                      "size",
		"-@%eax":                    "size",
		"99999999999999999999@%eax": "size",
		"8@":                        "empty",
		"8@%":                       "register",
		"8@%rip":                    "register",
		"8@%r16":                    "register",
		"8@%fs:40":                  "segment",
		"8@%fs:40(%rax)":            "segment",
		"8@%fs:x@tpoff":             "segment",
		"8@$":                       "number",
		"8@$sym":                    "number",
		"8@$08":                     "number",
		"8@$1_000":                  "number",
		"8@$0x":                     "number",
		"8@$36893488147419103232":   "number",
		"8@$--1":                    "number",
		"8@4(%eax)":                 "64-bit",
		"8@4(%rax,%ebx,4)":          "64-bit",
		"8@(%rax,%rsp,4)":           "index",
		"8@(%rax,%rbx,3)":           "scale",
		"8@(%rax,%rbx,16)":          "scale",
		"8@(%rax,%rbx,4,5)":         "parenthes",
		"8@(%rax":                   "parenthes",
		"8@()":                      "parenthes",
		"8@(,)":                     "index",
		"8@4(%rip)":                 "symbol",
		"8@(%rip)":                  "symbol",
		"8@sym(%rip,%rax,4)":        "register",
		"8@sym(%rax)":               "symbol",
		"8@a+b(%rip)":               "two symbols",
		"8@4-sym(%rip)":             "subtract",
		"8@sym@GOTPCREL(%rip)":      "symbol",
		"8@.LC0(%rip)":              "no such symbol",
		"8@gone(%rip)":              "no such symbol",
		"8@twice(%rip)":             "several",
		"8@4294967296(%rax)":        "displacement",
		"8@-2147483649(%rax)":       "displacement",
		"8@1234":                    "number",
		"8@*%rax":                   "symbol",
		"8@sym%":                    "symbol",
	}
	arm64 := map[string]string{
		"8f@d0":                "floating",
		"8@d0":                 "floating",
		"4@s1":                 "floating",
		"8@x31":                "register",
		"8@x":                  "register",
		"8@x01":                "register",
		"8@wsp2":               "register",
		"8@%rax":               "register",
		"8@[x0":                "bracket",
		"8@[x0, 8]!":           "bracket",
		"8@[x0], 8":            "bracket",
		"8@[]":                 "base",
		"8@[w0]":               "64-bit",
		"8@[xzr]":              "base",
		"8@[x0, w1, sxtw 2]":   "extend",
		"8@[x0, w1, uxtw]":     "extend",
		"8@[x0, w1]":           "64-bit",
		"8@[x0, sp]":           "index",
		"8@[x0, x1, lsl 4]":    "shift",
		"8@[x0, x1, lsl]":      "shift",
		"8@[x0, x1, lsr 2]":    "shift",
		"8@[x0, 8, lsl 2]":     "offset",
		"8@[x0, x1, lsl 1, 2]": "parts",
		"8@[x0, :lo12:sym]":    "offset",
		"8@[x0, 99999999999]":  "offset",
		"8@sym":                "register",
		"8@#":                  "number",
	}
	check := func(arch probe.Arch, table map[string]string, good string) {
		for text, want := range table {
			args, err := ParseArgs(arch, good+" "+text+" "+good, testSymbols(false))
			if err != nil || len(args) != 3 && !strings.ContainsAny(text, "[,") {
				t.Errorf("%v %q between two others: %d arguments, error %v", arch, text, len(args), err)
				continue
			}
			if args[0].Err != nil || args[len(args)-1].Err != nil {
				t.Errorf("%v %q spoils its neighbours: %v", arch, text, args)
			}
			a := args[1]
			if a.Kind != probe.OperandUnsupported || a.Err == nil {
				t.Errorf("%v %q: decoded as %+v", arch, text, a)
				continue
			}
			var oe *OperandError
			if msg := a.Err.Error(); !errors.As(a.Err, &oe) || !strings.Contains(msg, want) || !strings.Contains(msg, a.Text) {
				t.Errorf("%v %q: error %q, want %q and the operand in it", arch, text, msg, want)
			}
		}
	}
	check(probe.AMD64, amd64, "8@%rax")
	check(probe.ARM64, arm64, "8@[x0, 8]")
}

func TestSplitArgs(t *testing.T) {
	many := strings.TrimSpace(strings.Repeat("8@%rax ", MaxArgs))
	for _, test := range []struct {
		arch probe.Arch
		text string
		want string // of each argument's text, joined by |
		err  bool
	}{
		{probe.AMD64, "", "", false},
		{probe.AMD64, "  ", "", false},
		{probe.AMD64, "8@%rax -4@$1", "8@%rax|-4@$1", false},
		{probe.AMD64, " 8@%rax\t-4@$1 ", "8@%rax|-4@$1", false},
		{probe.AMD64, "8@8(%rax, %rbx, 8) 1@%al", "8@8(%rax, %rbx, 8)|1@%al", false},
		{probe.ARM64, "8@[x0, 8] -4@[sp, 60] 4@w1", "8@[x0, 8]|-4@[sp, 60]|4@w1", false},
		{probe.ARM64, "8@[x0, 8 -4@[sp, 60] 8f@d0", "8@[x0, 8|-4@[sp, 60]|8f@d0", false},
		{probe.AMD64, "8@%rax) 1@%al", "8@%rax)|1@%al", false},
		{probe.AMD64, many, strings.ReplaceAll(many, " ", "|"), false},
		{probe.AMD64, many + " 8@%rbx", strings.ReplaceAll(many, " ", "|"), true},
	} {
		args, err := ParseArgs(test.arch, test.text, Symbols{})
		var texts []string
		for _, a := range args {
			texts = append(texts, a.Text)
		}
		if got := strings.Join(texts, "|"); got != test.want || (err != nil) != test.err {
			t.Errorf("%q: %q, %v; want %q, error %v", test.text, got, err, test.want, test.err)
		}
	}
}

// TestOperandsNoSymbols: without a symbol table the operand is unsupported.
func TestOperandsNoSymbols(t *testing.T) {
	args, _ := ParseArgs(probe.AMD64, "8@sym(%rip)", Symbols{})
	if len(args) != 1 || args[0].Err == nil {
		t.Errorf("decoded as %+v", args)
	}
}

// formatArg writes a decoded argument back in its canonical form, symbols as
// s followed by their address in hex. It is the independent half of the round
// trip and shares no code with the parser.
func formatArg(arch probe.Arch, a probe.Operand) string {
	size := fmt.Sprint(a.Size)
	if a.Signed {
		size = "-" + size
	}
	widths := map[int]int{8: 0, 4: 1, 2: 2, 1: 3}
	amdNames := [...]string{"rax eax ax al", "rcx ecx cx cl", "rdx edx dx dl", "rbx ebx bx bl",
		"rsp esp sp spl", "rbp ebp bp bpl", "rsi esi si sil", "rdi edi di dil"}
	name := func(r probe.Reg, width int) string {
		switch {
		case arch == probe.ARM64 && r == 31:
			return "sp"
		case arch == probe.ARM64 && width < 8:
			return fmt.Sprintf("w%d", r)
		case arch == probe.ARM64:
			return fmt.Sprintf("x%d", r)
		case r >= 8:
			return fmt.Sprintf("%%r%d%s", r, []string{"", "d", "w", "b"}[widths[width]])
		}
		return "%" + strings.Fields(amdNames[r])[widths[width]]
	}
	switch {
	case a.Kind == probe.OperandConst && arch == probe.AMD64:
		return fmt.Sprintf("%s@$%d", size, a.Const)
	case a.Kind == probe.OperandConst:
		return fmt.Sprintf("%s@#%d", size, a.Const)
	case a.Kind == probe.OperandReg && a.Shift == 8:
		return fmt.Sprintf("%s@%%%ch", size, "acdb"[a.Base])
	case a.Kind == probe.OperandReg:
		return size + "@" + name(a.Base, a.Size)
	case a.Kind == probe.OperandSym:
		return fmt.Sprintf("%s@s%x(%%rip)", size, a.Addr)
	case arch == probe.AMD64:
		s := fmt.Sprintf("%s@%d(", size, a.Disp)
		if a.HasBase {
			s += name(a.Base, 8)
		}
		if a.HasIndex {
			s += fmt.Sprintf(",%s,%d", name(a.Index, 8), 1<<a.Shift)
		}
		return s + ")"
	case a.HasIndex:
		return fmt.Sprintf("%s@[%s, %s, lsl #%d]", size, name(a.Base, 8), name(a.Index, 8), a.Shift)
	}
	return fmt.Sprintf("%s@[%s, #%d]", size, name(a.Base, 8), a.Disp)
}
