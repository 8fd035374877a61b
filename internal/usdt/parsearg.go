// SPDX-License-Identifier: Apache-2.0

package usdt

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// addAttr adds the attribute of an option, whose name is prefix and key.
func addAttr(attrs []AttrSpec, prefix, key, value string) ([]AttrSpec, error) {
	if key == "" {
		return attrs, fmt.Errorf("option %q names no attribute: want %sKEY=argN[:TYPE]", prefix, prefix)
	}
	if err := checkLabel("attribute", key); err != nil {
		return attrs, err
	}
	probe, value, err := cutProbe(prefix, value)
	if err != nil {
		return attrs, fmt.Errorf("option %s%s: %w", prefix, key, err)
	}
	a, err := parseArgType(value)
	if err != nil {
		return attrs, fmt.Errorf("option %s%s=%s: %w", prefix, key, shorten(value), err)
	}
	if len(attrs) == MaxArgs {
		return attrs, fmt.Errorf("more than %d attributes", MaxArgs)
	}
	for _, other := range attrs {
		if other.Key == key {
			return attrs, fmt.Errorf("attribute %q is given twice", shorten(key))
		}
	}
	if a.Variable != "" && probe != "" {
		return attrs, fmt.Errorf("option %s%s: %q: a variable is of no probe", prefix, key, shorten(value))
	}
	a.Key, a.Probe = key, probe
	return append(attrs, a), nil
}

// cutProbe takes the probe off PROBE.argN[:TYPE]. Exits tell only of themselves.
func cutProbe(prefix, value string) (probe, rest string, err error) {
	if strings.HasPrefix(value, variablePrefix) {
		return "", value, nil // names of variables may have dots
	}
	index, _, _ := strings.Cut(value, ":")
	dot := strings.LastIndexByte(index, '.')
	if dot < 0 {
		return "", value, nil
	}
	if prefix == exitAttrPrefix {
		return "", value, fmt.Errorf("%q: an exit has no attributes of other probes", shorten(value))
	}
	probe, rest = value[:dot], value[dot+1:]
	return probe, rest, checkProbe("probe", probe)
}

// parseKey reads argN[+argM…][/argN[+argM…]].
func parseKey(s string) ([]KeyArg, error) {
	atEnter, atExit, differ := strings.Cut(s, "/")
	enter, err := parseArgIndexes(atEnter)
	if err != nil {
		return nil, err
	}
	exit := enter
	if differ {
		if exit, err = parseArgIndexes(atExit); err != nil {
			return nil, err
		}
	}
	if len(enter) != len(exit) {
		return nil, fmt.Errorf("%d of the enter's arguments and %d of the exit's: want as many", len(enter), len(exit))
	}
	key := make([]KeyArg, len(enter))
	for i := range key {
		key[i] = KeyArg{enter[i], exit[i]}
	}
	return key, nil
}

// parseArgIndexes reads argN[+argM…].
func parseArgIndexes(s string) ([]int, error) {
	var out []int
	for text := range strings.SplitSeq(s, "+") {
		n, err := parseArgIndex(strings.TrimSpace(text))
		switch {
		case err != nil:
			return nil, err
		case slices.Contains(out, n):
			return nil, fmt.Errorf("arg%d is given twice", n)
		}
		if out = append(out, n); len(out) > MaxKeyArgs {
			return nil, fmt.Errorf("more than %d arguments", MaxKeyArgs)
		}
	}
	return out, nil
}

// looksLikeArg reports whether a name is meant as an argument: "arg" and a digit,
// up to its end or a colon.
func looksLikeArg(s string) bool {
	index, _, typed := strings.Cut(s, ":")
	n, ok := strings.CutPrefix(index, "arg")
	return ok && n != "" && (typed || strings.Trim(n, "0123456789") == "")
}

// variablePrefix begins what is read from a variable.
const variablePrefix = "var("

// parseVariable reads var(NAME):str.
func parseVariable(s string) (AttrSpec, error) {
	name, typ, _ := strings.Cut(strings.TrimPrefix(s, variablePrefix), ")")
	a := AttrSpec{Arg: NoArg, Type: TypeStr, Variable: name}
	switch {
	case typ != ":str":
		return a, fmt.Errorf("%q: want var(NAME):str, a variable with the address of a string", shorten(s))
	case !isSymbol(name) || len(name) > maxSymbolName:
		return a, fmt.Errorf("%q cannot be the name of a variable", shorten(name))
	}
	return a, nil
}

// parseArgType reads argN[:TYPE], or a variable.
func parseArgType(s string) (AttrSpec, error) {
	if strings.HasPrefix(s, variablePrefix) {
		return parseVariable(s)
	}
	index, typ, typed := strings.Cut(s, ":")
	var a AttrSpec
	var err error
	if a.Arg, err = parseArgIndex(index); err != nil || !typed {
		return a, err
	}
	switch typ {
	case "int":
		a.Type = TypeInt
	case "uint":
		a.Type = TypeUint
	case "hex":
		a.Type = TypeHex
	case "str":
		a.Type = TypeStr
	default:
		if words, ok := strings.CutPrefix(typ, "word("); ok {
			a.Type = TypeWord
			err = a.setWords(words)
			return a, err
		}
		if words, ok := strings.CutPrefix(typ, "flags("); ok {
			a.Type = TypeFlags
			err = a.setWords(words)
			return a, err
		}
		length, ok := strings.CutPrefix(typ, "str(")
		if length, ok2 := strings.CutSuffix(length, ")"); ok && ok2 {
			a.Type = TypeStrLen
			a.LenArg, err = parseArgIndex(length)
			return a, err
		}
		return a, fmt.Errorf("unknown type %q: want int, uint, hex, str, str(argM), word(N=WORD|…) or flags(N=WORD|…)", shorten(typ))
	}
	return a, nil
}

// setWords takes N=WORD|N=WORD…).
func (a *AttrSpec) setWords(s string) error {
	s, ok := strings.CutSuffix(s, ")")
	if !ok {
		return errors.New("the list of words has no closing parenthesis")
	}
	words, err := parseWords(s)
	format := "%d=%s"
	if a.Type == TypeFlags {
		format = "%#x=%s"
	}
	text := make([]string, len(words))
	for i, w := range words {
		text[i] = fmt.Sprintf(format, w.Value, w.Text)
	}
	a.Words = strings.Join(text, "|")
	return err
}

// parseWords reads N=WORD|N=WORD…, where N is decimal or 0x and hexadecimal.
func parseWords(s string) (words []Word, err error) {
	for item := range strings.SplitSeq(s, "|") {
		number, text, ok := strings.Cut(item, "=")
		n, err := strconv.ParseUint(number, 0, 64)
		switch {
		case !ok || err != nil || text == "" || strings.ContainsAny(text, "()="):
			return nil, fmt.Errorf("%q is not of the form N=WORD", shorten(item))
		case slices.ContainsFunc(words, func(w Word) bool { return w.Value == n }):
			return nil, fmt.Errorf("%q has two words", number)
		case len(words) == maxWords:
			return nil, fmt.Errorf("more than %d words", maxWords)
		}
		if err := checkLabel("word", text); err != nil {
			return nil, err
		}
		words = append(words, Word{n, text})
	}
	return words, nil
}

// parseArgIndex reads argN.
func parseArgIndex(s string) (int, error) {
	digits, ok := strings.CutPrefix(s, "arg")
	n, err := strconv.Atoi(digits)
	if !ok || err != nil || strconv.Itoa(n) != digits || n < 0 || n >= MaxArgs {
		return 0, fmt.Errorf("%q is not an argument: want arg0 to arg%d", shorten(s), MaxArgs-1)
	}
	return n, nil
}
