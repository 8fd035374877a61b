// SPDX-License-Identifier: Apache-2.0

package usdt

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

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
	if a.Variable != "" {
		return variablePrefix + a.Variable + "):str"
	}
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
