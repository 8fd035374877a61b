// SPDX-License-Identifier: Apache-2.0

package usdt

import (
	"errors"
	"strings"

	"github.com/phasetrace/phasetrace/internal/probe"
)

var (
	errSegment     = errors.New("thread-local: relative to a segment register")
	errParentheses = errors.New("unbalanced or malformed parentheses")
	errScale       = errors.New("scale is not 1, 2, 4 or 8")
	errRIP         = errors.New("relative to the program counter without a symbol")
)

// parseAMD64 reads an operand in AT&T syntax into arg, whose size is set.
func parseAMD64(s string, symbols Symbols, arg *probe.Operand) error {
	switch {
	case s[0] == '$':
		e, err := parseExpression(s[1:])
		if err != nil || e.symbol != "" {
			return errNumber
		}
		arg.Kind, arg.Const = probe.OperandConst, e.offset
		return nil
	case strings.HasPrefix(s, "%fs:") || strings.HasPrefix(s, "%gs:"):
		return errSegment
	case s[0] == '%':
		r, err := amd64Register(s[1:])
		if err == nil {
			setReg(arg, r)
		}
		return err
	}
	open := strings.IndexByte(s, '(')
	if open < 0 {
		return parseAMD64Absolute(s, symbols, arg)
	}
	var e expression
	if open > 0 {
		var err error
		if e, err = parseExpression(s[:open]); err != nil {
			return err
		}
	}
	inner, ok := strings.CutSuffix(s[open+1:], ")")
	if !ok || strings.ContainsAny(inner, "()") {
		return errParentheses
	}
	if inner == "%rip" {
		if e.symbol == "" {
			return errRIP
		}
		return parseSym(e, symbols, arg)
	}
	return parseAMD64Mem(e, inner, symbols, arg)
}

// parseAMD64Absolute reads a symbol without a register.
func parseAMD64Absolute(s string, symbols Symbols, arg *probe.Operand) error {
	e, err := parseExpression(s)
	if err != nil {
		return err
	}
	if e.symbol == "" {
		// No compiler passes the content of a numeric address; the author meant
		// something else.
		return errors.New("a bare number: want $N, a register or an address")
	}
	return parseSym(e, symbols, arg)
}

func parseSym(e expression, symbols Symbols, arg *probe.Operand) (err error) {
	arg.Kind = probe.OperandSym
	arg.Addr, err = e.address(symbols)
	return err
}

// parseAMD64Mem reads the inside of the parentheses: base, index, scale.
func parseAMD64Mem(e expression, inner string, symbols Symbols, arg *probe.Operand) error {
	parts := strings.Split(inner, ",")
	if len(parts) > 3 || inner == "" {
		return errParentheses
	}
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	arg.Kind, arg.Disp = probe.OperandMem, e.offset
	if parts[0] != "" {
		r, err := amd64Address(parts[0])
		if err != nil {
			return err
		}
		arg.Base, arg.HasBase = r, true
	}
	if len(parts) == 1 && !arg.HasBase {
		return errParentheses
	}
	if len(parts) > 1 {
		r, err := amd64Address(parts[1])
		if err != nil {
			return err
		}
		if r == probe.RSP {
			return errIndex
		}
		arg.Index, arg.HasIndex = r, true
	}
	if len(parts) == 3 {
		shift := strings.Index("1 2 4 8", parts[2])
		if len(parts[2]) != 1 || shift < 0 || shift%2 != 0 {
			return errScale
		}
		arg.Shift = uint8(shift / 2)
	}
	if e.symbol != "" {
		addr, err := e.address(symbols)
		if err != nil {
			return err
		}
		if !symbols.Fixed {
			return errSymbolBase
		}
		arg.Disp = int64(addr)
	}
	if !fits32(arg.Disp) {
		return errDisplacement
	}
	return nil
}

// amd64Address reads a register that is part of an address.
func amd64Address(s string) (probe.Reg, error) {
	name, ok := strings.CutPrefix(s, "%")
	if !ok {
		return 0, errIndex
	}
	r, err := amd64Register(name)
	if err == nil && r.size != 8 {
		err = errNarrow
	}
	return r.reg, err
}

// amd64Register looks up a register without its percent sign.
func amd64Register(name string) (register, error) {
	if r, ok := amd64Registers[name]; ok {
		return r, nil
	}
	for _, p := range [...]string{"xmm", "ymm", "zmm", "mm", "st"} {
		if strings.HasPrefix(name, p) {
			return register{}, errFloat
		}
	}
	return register{}, errRegister
}

var amd64Registers = makeAMD64Registers()

func makeAMD64Registers() map[string]register {
	m := make(map[string]register, 68)
	for r := probe.RAX; r <= probe.R15; r++ {
		name := r.Name(probe.AMD64)
		m[name] = register{reg: r, size: 8}
		switch {
		case r >= probe.R8: // r8, r8d, r8w, r8b
			m[name+"d"] = register{reg: r, size: 4}
			m[name+"w"] = register{reg: r, size: 2}
			m[name+"b"] = register{reg: r, size: 1}
			continue
		case r <= probe.RBX: // rax, eax, ax, al, ah
			m[name[1:2]+"l"] = register{reg: r, size: 1}
			m[name[1:2]+"h"] = register{reg: r, size: 1, shift: 8}
		default: // rsi, esi, si, sil
			m[name[1:]+"l"] = register{reg: r, size: 1}
		}
		m["e"+name[1:]] = register{reg: r, size: 4}
		m[name[1:]] = register{reg: r, size: 2}
	}
	return m
}
