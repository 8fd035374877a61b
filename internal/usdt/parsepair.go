// SPDX-License-Identifier: Apache-2.0

package usdt

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of a pair's texts, in bytes.
const (
	maxProbeName = 256
	maxLabel     = 128
	maxExits     = 16
)

const exitAttrPrefix = "exit.attr."

const pairForm = "[+]PROVIDER:ENTER/EXIT[,EXIT…][;OPTION…]"

// ParsePair reads a pair as --pair has it:
//
//	[+]PROVIDER:ENTER/EXIT[,EXIT…][;name=…][;[outer.]attr.KEY=[PROBE.]argN[:TYPE]]
//	  [;exit.attr.KEY=argN[:TYPE]][;lane=NAME][;key=argN[+argM…][/argN[+argM…]]]
//	  [;reentrant=false][;reset=PROBE[,PROBE…]][;stale=failed]
//
// With + the pair is added to the default choice instead of replacing it. TYPE is
// int (the default), uint, hex, str, str(argM), word(N=WORD|…) or flags(N=WORD|…).
// With PROBE. an attribute is what another probe of the provider told at its last
// hit on the thread; with outer. only a phase inside no other has it. The value of
// name is literal unless it has the form argN:str or argN:str(argM); without one, the phase is named after the
// enter probe, as in [ByRule]. A key is one argument or several; those after the
// slash are the exit's, where they are others than the enter's. The error quotes the part that is wrong
// and says what is expected instead.
func ParsePair(s string) (PairSpec, error) {
	p, err := parsePair(s)
	if err != nil {
		return PairSpec{}, fmt.Errorf("pair %q: %w", shorten(s), err)
	}
	return p, nil
}

func parsePair(s string) (PairSpec, error) {
	if !utf8.ValidString(s) {
		return PairSpec{}, errors.New("not valid UTF-8")
	}
	s, added := strings.CutPrefix(strings.TrimSpace(s), "+")
	head, options, hasOptions := strings.Cut(s, ";")
	p, err := parsePairHead(head)
	p.Added = added
	if err != nil || !hasOptions {
		return p, err
	}
	seen := map[string]bool{}
	for _, option := range strings.Split(options, ";") {
		key, value, ok := strings.Cut(option, "=")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		switch {
		case !ok:
			return p, fmt.Errorf("%q is not of the form OPTION=VALUE", shorten(option))
		case value == "":
			return p, fmt.Errorf("option %q has no value", shorten(key))
		case seen[key]:
			return p, fmt.Errorf("option %q is given twice", shorten(key))
		}
		seen[key] = true
		if err := p.setOption(key, value); err != nil {
			return p, err
		}
	}
	return p, nil
}

// parsePairHead reads the part before the options.
func parsePairHead(head string) (PairSpec, error) {
	provider, probes, ok := strings.Cut(head, ":")
	if !ok {
		return PairSpec{}, fmt.Errorf("%q has no colon after the provider; want %s", shorten(head), pairForm)
	}
	enter, exits, ok := strings.Cut(probes, "/")
	if !ok {
		return PairSpec{}, fmt.Errorf("%q has no slash between the enter and the exit probe; want %s", shorten(probes), pairForm)
	}
	p := newPair(OriginFlag, strings.TrimSpace(provider), strings.TrimSpace(enter))
	p.DefaultOn, p.Why = true, "asked for"
	if err := checkProbe("provider", p.Provider); err != nil {
		return p, err
	}
	if err := checkProbe("enter probe", p.Enter); err != nil {
		return p, err
	}
	var err error
	if p.Exits, err = parseProbes("exit probe", exits); err != nil {
		return p, err
	}
	if slices.Contains(p.Exits, p.Enter) {
		return p, fmt.Errorf("probe %q cannot be both the enter and an exit", p.Enter)
	}
	p.Name = phaseName(p.Provider, p.Enter)
	return p, nil
}

// parseProbes reads a list of probe names joined by commas.
func parseProbes(what, list string) ([]string, error) {
	var names []string
	for _, name := range strings.Split(list, ",") {
		name = strings.TrimSpace(name)
		if err := checkProbe(what, name); err != nil {
			return nil, err
		}
		if slices.Contains(names, name) {
			return nil, fmt.Errorf("%s %q is given twice", what, name)
		}
		if names = append(names, name); len(names) > maxExits {
			return nil, fmt.Errorf("more than %d %ss", maxExits, what)
		}
	}
	return names, nil
}

// checkProbe refuses what cannot be the name of a provider or probe.
func checkProbe(what, name string) error {
	switch {
	case name == "":
		return fmt.Errorf("no %s; want %s", what, pairForm)
	case len(name) > maxProbeName:
		return fmt.Errorf("%s %q is longer than %d bytes", what, shorten(name), maxProbeName)
	}
	for _, r := range name {
		if strings.ContainsRune(":/,;=", r) || unicode.IsSpace(r) || !unicode.IsPrint(r) {
			return fmt.Errorf("%s %q: %q cannot be part of it", what, name, r)
		}
	}
	return nil
}

func (p *PairSpec) setOption(key, value string) (err error) {
	attr, isAttr := strings.CutPrefix(key, "attr.")
	outerAttr, isOuterAttr := strings.CutPrefix(key, "outer.attr.")
	exitAttr, isExitAttr := strings.CutPrefix(key, "exit.attr.")
	switch {
	case isAttr:
		p.Attrs, err = addAttr(p.Attrs, "attr.", attr, value)
		return err
	case isOuterAttr:
		if p.Attrs, err = addAttr(p.Attrs, "outer.attr.", outerAttr, value); err == nil {
			p.Attrs[len(p.Attrs)-1].Outer = true
		}
		return err
	case isExitAttr:
		p.ExitAttrs, err = addAttr(p.ExitAttrs, exitAttrPrefix, exitAttr, value)
		return err
	case key == "name":
		return p.setName(value)
	case key == "lane":
		p.Lane = value
		return checkLabel("lane", value)
	case key == "key":
		if p.Key, err = parseKey(value); err != nil {
			return fmt.Errorf("option key=%s: %w", shorten(value), err)
		}
		return nil
	case key == "reentrant":
		if value != "true" && value != "false" {
			return fmt.Errorf("option reentrant=%s: want true or false", shorten(value))
		}
		p.Reentrant = value == "true"
		return nil
	case key == "reset":
		p.Resets, err = parseProbes("reset probe", value)
		return err
	case key == "stale":
		if value != "abandoned" && value != "failed" {
			return fmt.Errorf("option stale=%s: want abandoned or failed", shorten(value))
		}
		p.Fails = value == "failed"
		return nil
	}
	return fmt.Errorf("unknown option %q: want name, attr.KEY, outer.attr.KEY, exit.attr.KEY, lane, key, reentrant, reset or stale", shorten(key))
}

func (p *PairSpec) setName(value string) error {
	if !looksLikeArg(value) {
		p.Name = value
		return checkLabel("name", value)
	}
	a, err := parseArgType(value)
	if err != nil {
		return fmt.Errorf("option name=%s: %w", shorten(value), err)
	}
	if a.Type != TypeStr && a.Type != TypeStrLen {
		return fmt.Errorf("option name=%s: a name is a string: want name=arg%d:str, or name=arg%d:str(argM)", shorten(value), a.Arg, a.Arg)
	}
	a.Key = "name"
	p.Name, p.NameArg = "", &a
	return nil
}

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
	a.Key, a.Probe = key, probe
	return append(attrs, a), nil
}

// cutProbe takes the probe off PROBE.argN[:TYPE]. Exits tell only of themselves.
func cutProbe(prefix, value string) (probe, rest string, err error) {
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

func checkLabel(what, s string) error {
	if len(s) > maxLabel {
		return fmt.Errorf("%s %q is longer than %d bytes", what, shorten(s), maxLabel)
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return fmt.Errorf("%s %q: %q cannot be part of it", what, s, r)
		}
	}
	return nil
}

// looksLikeArg reports whether a name is meant as an argument: "arg" and a digit,
// up to its end or a colon.
func looksLikeArg(s string) bool {
	index, _, typed := strings.Cut(s, ":")
	n, ok := strings.CutPrefix(index, "arg")
	return ok && n != "" && (typed || strings.Trim(n, "0123456789") == "")
}

// parseArgType reads argN[:TYPE].
func parseArgType(s string) (AttrSpec, error) {
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

// maxWords bounds the words of one attribute.
const maxWords = 64

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

// String returns the pair in the --pair grammar with all its options, so that
// ParsePair returns the same pair again. The grammar cannot express a marker's
// token, rank and JSON attributes, an origin or a remedy. Of what stands for pairs by
// name it is the name, quoted.
func (p PairSpec) String() string {
	if p.Named {
		return strconv.Quote(p.Name)
	}
	var b strings.Builder
	if p.Added {
		b.WriteByte('+')
	}
	fmt.Fprintf(&b, "%s:%s/%s", p.Provider, p.Enter, strings.Join(p.Exits, ","))
	switch {
	case p.NameArg != nil:
		fmt.Fprintf(&b, ";name=%s", p.NameArg.argType())
	case p.Name != phaseName(p.Provider, p.Enter):
		fmt.Fprintf(&b, ";name=%s", p.Name)
	}
	for _, a := range p.Attrs {
		b.WriteByte(';')
		if a.Outer {
			b.WriteString("outer.")
		}
		fmt.Fprintf(&b, "attr.%s=", a.Key)
		if a.Probe != "" {
			b.WriteString(a.Probe + ".")
		}
		b.WriteString(a.argType())
	}
	for _, a := range p.ExitAttrs {
		fmt.Fprintf(&b, ";exit.attr.%s=%s", a.Key, a.argType())
	}
	if p.Lane != "" {
		fmt.Fprintf(&b, ";lane=%s", p.Lane)
	}
	if p.Keyed() {
		fmt.Fprintf(&b, ";key=%s", p.KeyText())
	}
	if !p.Reentrant {
		b.WriteString(";reentrant=false")
	}
	if len(p.Resets) > 0 {
		fmt.Fprintf(&b, ";reset=%s", strings.Join(p.Resets, ","))
	}
	if p.Fails {
		b.WriteString(";stale=failed")
	}
	return b.String()
}

// KeyText returns the pair's key as in the grammar, empty if it has none.
func (p *PairSpec) KeyText() string {
	var enter, exit []string
	for _, k := range p.Key {
		enter, exit = append(enter, fmt.Sprintf("arg%d", k.Enter)), append(exit, fmt.Sprintf("arg%d", k.Exit))
	}
	text := strings.Join(enter, "+")
	if !slices.Equal(enter, exit) {
		text += "/" + strings.Join(exit, "+")
	}
	return text
}

// argType returns the value as in the grammar, without int.
func (a AttrSpec) argType() string {
	switch a.Type {
	case TypeInt:
		return fmt.Sprintf("arg%d", a.Arg)
	case TypeStrLen:
		return fmt.Sprintf("arg%d:str(arg%d)", a.Arg, a.LenArg)
	case TypeWord, TypeFlags:
		return fmt.Sprintf("arg%d:%v(%s)", a.Arg, a.Type, a.Words)
	}
	return fmt.Sprintf("arg%d:%v", a.Arg, a.Type)
}

// shorten cuts a text for an error message.
func shorten(s string) string {
	const limit = 120
	if len(s) <= limit {
		return s
	}
	cut := limit
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}
