// SPDX-License-Identifier: Apache-2.0

package usdt

import (
	"errors"
	"strconv"
	"strings"

	"github.com/phasetrace/phasetrace/internal/probe"
)

var (
	errBrackets = errors.New("unbalanced or malformed brackets")
	errParts    = errors.New("too many parts in the brackets")
	errExtend   = errors.New("an index that is extended first (sxtw, uxtw) is not supported")
	errShift    = errors.New("index shift is not lsl 0 to 3")
	errOffset   = errors.New("not a register or an offset of 32 bits")
)

// parseARM64 reads an operand into arg, whose size is set.
func parseARM64(s string, arg *probe.Operand) error {
	if s[0] == '[' {
		inner, ok := strings.CutSuffix(s[1:], "]")
		if !ok || strings.ContainsAny(inner, "[]") {
			return errBrackets
		}
		return parseARM64Mem(inner, arg)
	}
	if digits, hash := strings.CutPrefix(s, "#"); hash || s[0] == '-' || '0' <= s[0] && s[0] <= '9' {
		v, err := parseNumber(digits)
		arg.Kind, arg.Const = probe.OperandConst, v
		return err
	}
	r, err := arm64Register(s)
	if err == nil {
		setReg(arg, r)
	}
	return err
}

// parseARM64Mem reads the inside of the brackets.
func parseARM64Mem(inner string, arg *probe.Operand) error {
	parts := strings.Split(inner, ",")
	if len(parts) > 3 {
		return errParts
	}
	for i := range parts {
		parts[i] = strings.ToLower(strings.TrimSpace(parts[i]))
	}
	base, err := arm64Register(parts[0])
	switch {
	case err != nil || base.zero:
		return errNoBase
	case base.size != 8:
		return errNarrow
	}
	arg.Kind, arg.Base, arg.HasBase = probe.OperandMem, base.reg, true
	if len(parts) == 1 {
		return nil
	}
	index, err := arm64Register(parts[1])
	if err != nil {
		arg.Disp, err = parseNumber(strings.TrimPrefix(parts[1], "#"))
		if err != nil || !fits32(arg.Disp) || len(parts) > 2 {
			return errOffset
		}
		return nil
	}
	shift := ""
	if len(parts) == 3 {
		shift = parts[2]
	}
	return setARM64Index(arg, index, shift, len(parts) == 3)
}

func setARM64Index(a *probe.Operand, index register, shift string, hasShift bool) error {
	if strings.HasPrefix(shift, "sxt") || strings.HasPrefix(shift, "uxt") {
		return errExtend
	}
	if hasShift {
		amount, ok := strings.CutPrefix(shift, "lsl")
		n := strings.TrimPrefix(strings.TrimSpace(amount), "#")
		if !ok || len(n) != 1 || n[0] < '0' || n[0] > '3' {
			return errShift
		}
		a.Shift = n[0] - '0'
	}
	switch {
	case index.size != 8:
		return errNarrow
	case index.reg == probe.SP && !index.zero:
		return errIndex
	case index.zero:
		a.Shift = 0
		return nil
	}
	a.Index, a.HasIndex = index.reg, true
	return nil
}

// arm64Register looks up a register by name.
func arm64Register(name string) (register, error) {
	switch name {
	case "sp":
		return register{reg: probe.SP, size: 8}, nil
	case "wsp":
		return register{reg: probe.SP, size: 4}, nil
	case "fp":
		return register{reg: probe.X29, size: 8}, nil
	case "lr":
		return register{reg: probe.X30, size: 8}, nil
	case "xzr":
		return register{size: 8, zero: true}, nil
	case "wzr":
		return register{size: 4, zero: true}, nil
	case "":
		return register{}, errRegister
	}
	n, err := strconv.ParseUint(name[1:], 10, 8)
	if err != nil || len(name) > 2 && name[1] == '0' {
		return register{}, errRegister
	}
	switch c := name[0]; {
	case strings.IndexByte("bhsdqv", c) >= 0 && n < 32:
		return register{}, errFloat
	case c == 'x' && n <= 30:
		return register{reg: probe.Reg(n), size: 8}, nil
	case c == 'w' && n <= 30:
		return register{reg: probe.Reg(n), size: 4}, nil
	}
	return register{}, errRegister
}
