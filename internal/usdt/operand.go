// SPDX-License-Identifier: Apache-2.0

package usdt

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/phasetrace/phasetrace/internal/probe"
)

// Symbols resolves the symbols in operands.
type Symbols struct {
	// Lookup returns the address that the file states for a symbol. If it is nil,
	// no symbol is known.
	Lookup func(name string) (uint64, error)
	// Fixed says that the file is loaded at the addresses it states.
	Fixed bool
}

// OperandError says why an argument is unsupported.
type OperandError struct {
	// Operand is the argument as the note has it.
	Operand string
	// Reason is what is wrong with it.
	Reason error
}

// Error quotes the operand, shortened where it is very long.
func (e *OperandError) Error() string {
	text := e.Operand
	if len(text) > 80 {
		text = text[:80] + "…"
	}
	return fmt.Sprintf("argument %q: %v", text, e.Reason)
}

// Unwrap returns the reason.
func (e *OperandError) Unwrap() error { return e.Reason }

// Reasons are values, so that a hostile file with very many bad arguments
// costs no memory for their texts.
var (
	errNoSize       = errors.New("no size before it; want 1@, 2@, 4@ or 8@, with a minus where signed")
	errSize         = errors.New("unsupported size; want 1, 2, 4 or 8 bytes")
	errFloat        = errors.New("floating-point values are not supported")
	errEmpty        = errors.New("empty operand")
	errNumber       = errors.New("not a number")
	errRegister     = errors.New("not a general-purpose register")
	errNarrow       = errors.New("an address needs 64-bit registers")
	errIndex        = errors.New("not an index register")
	errNoBase       = errors.New("no base register")
	errTwoSymbols   = errors.New("names two symbols")
	errSubtract     = errors.New("cannot subtract a symbol")
	errNotASymbol   = errors.New("neither a register, an address nor a plain symbol")
	errSymbolBase   = errors.New("a symbol with a register, in a file that can be loaded anywhere")
	errNoSymbols    = errors.New("names a symbol, and there is no symbol table")
	errDisplacement = errors.New("displacement beyond 32 bits")
	errArch         = errors.New("unknown architecture")
	errOutside      = errors.New("its address lies outside of what the file loads")
)

// ParseArgs decodes the argument string of a note. It returns one operand for
// each argument, in order; those that cannot be decoded have Err set. With more
// than MaxArgs it returns the first MaxArgs and an error.
func ParseArgs(arch probe.Arch, text string, symbols Symbols) ([]probe.Operand, error) {
	var args []probe.Operand
	for text = trimSpace(text); text != ""; text = trimSpace(text) {
		if len(args) == MaxArgs {
			return args, fmt.Errorf("more than %d arguments: those after arg%d are left out", MaxArgs, MaxArgs-1)
		}
		n := argLen(text)
		if args == nil {
			args = make([]probe.Operand, 0, min(MaxArgs, 1+strings.Count(text, "@")))
		}
		args = append(args, parseArg(arch, text[:n], symbols))
		text = text[n:]
	}
	return args, nil
}

func isSpace(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }

func trimSpace(s string) string {
	for s != "" && isSpace(s[0]) {
		s = s[1:]
	}
	return s
}

// argLen returns the length of the first argument: up to white space outside
// of brackets, or up to where another argument clearly begins.
func argLen(text string) int {
	depth, end := 0, 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '[' || c == '(':
			depth++
		case c == ']' || c == ')':
			depth--
		case isSpace(c):
			if depth <= 0 || startsArg(text[i+1:]) {
				return end
			}
			continue
		}
		end = i + 1
	}
	return end
}

// startsArg says whether text begins with a size, such as "-4@" or "8f@".
func startsArg(text string) bool {
	text = strings.TrimPrefix(text, "-")
	n := 0
	for n < len(text) && '0' <= text[n] && text[n] <= '9' {
		n++
	}
	rest := strings.TrimPrefix(text[n:], "f")
	return n > 0 && strings.HasPrefix(rest, "@")
}

// parseArg decodes one argument.
func parseArg(arch probe.Arch, text string, symbols Symbols) probe.Operand {
	arg, err := parseSized(arch, text, symbols)
	arg.Text = text
	if err != nil {
		return unsupported(&arg, err)
	}
	if arg.Kind == probe.OperandConst {
		arg.Const = extend(arg.Const, arg.Size, arg.Signed)
	}
	return arg
}

// unsupported returns the argument without the parts already decoded, which must
// not be used.
func unsupported(a *probe.Operand, reason error) probe.Operand {
	return probe.Operand{Text: a.Text, Size: a.Size, Signed: a.Signed, Err: &OperandError{a.Text, reason}}
}

func parseSized(arch probe.Arch, text string, symbols Symbols) (probe.Operand, error) {
	size, operand, ok := strings.Cut(text, "@")
	if !ok {
		return probe.Operand{}, errNoSize
	}
	size, signed := strings.CutPrefix(size, "-")
	size, float := strings.CutSuffix(size, "f")
	arg := probe.Operand{Signed: signed}
	switch size {
	case "1", "2", "4", "8":
		arg.Size = int(size[0] - '0')
	case "":
		return arg, errNoSize
	default:
		return arg, errSize
	}
	if float {
		return arg, errFloat
	}
	if operand == "" {
		return arg, errEmpty
	}
	switch arch {
	case probe.AMD64:
		return arg, parseAMD64(operand, symbols, &arg)
	case probe.ARM64:
		return arg, parseARM64(operand, &arg)
	}
	return arg, errArch
}

// extend cuts a value to a size in bytes and extends it again.
func extend(v int64, size int, signed bool) int64 {
	shift := 64 - 8*size
	if signed {
		return v << shift >> shift
	}
	return int64(uint64(v) << shift >> shift)
}

// setReg makes arg the value of a register.
func setReg(a *probe.Operand, r register) {
	if r.zero {
		a.Kind = probe.OperandConst
		return
	}
	a.Kind, a.Base, a.Shift = probe.OperandReg, r.reg, r.shift
	a.Size = min(a.Size, r.size)
}

// parseNumber reads an integer as assemblers do: decimal, 0x and hexadecimal,
// 0 and octal; from -2^63 to 2^64-1, the upper half by its bits.
func parseNumber(s string) (int64, error) {
	digits, negative := strings.CutPrefix(s, "-")
	base := 10
	switch {
	case strings.HasPrefix(digits, "0x") || strings.HasPrefix(digits, "0X"):
		digits, base = digits[2:], 16
	case len(digits) > 1 && digits[0] == '0':
		digits, base = digits[1:], 8
	}
	if digits == "" || digits[0] == '-' || digits[0] == '+' {
		return 0, errNumber
	}
	v, err := strconv.ParseUint(digits, base, 64)
	if err != nil || negative && v > 1<<63 {
		return 0, errNumber
	}
	if negative {
		return -int64(v), nil
	}
	return int64(v), nil
}

// expression is a sum of numbers and at most one symbol.
type expression struct {
	offset int64
	symbol string
}

// parseExpression reads terms joined by + and -.
func parseExpression(s string) (expression, error) {
	var e expression
	for first := true; s != "" || first; first = false {
		negative := false
		if s != "" && (s[0] == '-' || s[0] == '+' && !first) {
			negative, s = s[0] == '-', s[1:]
		}
		n := strings.IndexAny(s, "+-")
		if n < 0 {
			n = len(s)
		}
		term := s[:n]
		s = s[n:]
		if err := e.add(term, negative); err != nil {
			return e, err
		}
	}
	return e, nil
}

func (e *expression) add(term string, negative bool) error {
	switch {
	case term == "" || '0' <= term[0] && term[0] <= '9':
		sign := ""
		if negative {
			sign = "-"
		}
		v, err := parseNumber(sign + term)
		e.offset += v
		return err
	case !isSymbol(term):
		return errNotASymbol
	case negative:
		return errSubtract
	case e.symbol != "":
		return errTwoSymbols
	}
	e.symbol = term
	return nil
}

// isSymbol says whether s is written as an assembler's plain symbol.
func isSymbol(s string) bool {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', c == '_', c == '.', c >= 0x80:
		case i > 0 && ('0' <= c && c <= '9' || c == '$'):
		default:
			return false
		}
	}
	return s != ""
}

// address returns the value of the expression in the file.
func (e *expression) address(symbols Symbols) (uint64, error) {
	if symbols.Lookup == nil {
		return 0, errNoSymbols
	}
	addr, err := symbols.Lookup(e.symbol)
	return addr + uint64(e.offset), err
}

func fits32(v int64) bool { return math.MinInt32 <= v && v <= math.MaxInt32 }

// register is a register as an operand names it.
type register struct {
	reg   probe.Reg
	size  int   // width in bytes
	shift uint8 // bits to the value's lowest
	zero  bool  // reads as 0
}
