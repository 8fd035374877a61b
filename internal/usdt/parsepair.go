// SPDX-License-Identifier: Apache-2.0

package usdt

import (
	"errors"
	"fmt"
	"slices"
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
//	  [;[outer.]attr.KEY=var(NAME):str][;exit.attr.KEY=argN[:TYPE]][;lane=NAME]
//	  [;key=argN[+argM…][/argN[+argM…]]][;reentrant=false]
//	  [;reset=PROBE|FUNCTION()[,…]][;stale=failed]
//
// With + the pair is added to the default choice instead of replacing it. TYPE is
// int (the default), uint, hex, str, str(argM), word(N=WORD|…) or flags(N=WORD|…).
// With PROBE. an attribute is what another probe of the provider told at its last
// hit on the thread; with var it is the string that a variable of the program points
// to; with outer. only a phase inside no other has it. The value of
// name is literal unless it has the form argN:str or argN:str(argM); without one,
// the phase is named after the enter probe, as in [ByRule]. A key is one argument or
// several; those after the slash are the exit's, where they are others than the
// enter's. The error quotes the part that is wrong and says what is expected instead.
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

// checkResets refuses what is called as functions are and cannot be one.
func checkResets(resets []string) error {
	for _, reset := range resets {
		if name, ok := functionName(reset); ok && (!isSymbol(name) || len(name) > maxSymbolName) {
			return fmt.Errorf("%q cannot be the name of a function", shorten(name))
		}
	}
	return nil
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
		if p.Resets, err = parseProbes("reset probe", value); err != nil {
			return err
		}
		return checkResets(p.Resets)
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

// maxWords bounds the words of one attribute.
const maxWords = 64

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
