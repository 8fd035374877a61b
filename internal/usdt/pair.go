// SPDX-License-Identifier: Apache-2.0

package usdt

import (
	"fmt"
	"slices"
)

// ArgType says how an argument's value is shown.
type ArgType uint8

// Types of arguments.
const (
	// TypeInt is an integer, signed or not as the note says.
	TypeInt ArgType = iota
	// TypeUint is an integer shown unsigned.
	TypeUint
	// TypeHex is an integer shown in hexadecimal.
	TypeHex
	// TypeStr is the address of a NUL-terminated string.
	TypeStr
	// TypeStrLen is the address of a string whose length in bytes is the
	// value of another argument.
	TypeStrLen
	// TypeWord is an integer shown as its word; one without a word stays a number.
	TypeWord
	// TypeFlags is an integer shown as the words of its bits; bits without a word
	// are shown in hexadecimal.
	TypeFlags
)

// Word is what a value, or a bit, is called.
type Word struct {
	Value uint64
	Text  string
}

// String returns the type's word in the --pair grammar.
func (t ArgType) String() string {
	switch t {
	case TypeInt:
		return "int"
	case TypeUint:
		return "uint"
	case TypeHex:
		return "hex"
	case TypeStr:
		return "str"
	case TypeStrLen:
		return "str(argM)"
	case TypeWord:
		return "word"
	case TypeFlags:
		return "flags"
	}
	return fmt.Sprintf("ArgType(%d)", uint8(t))
}

// AttrSpec is one value to capture at a probe.
type AttrSpec struct {
	// Key names the attribute.
	Key string
	// Arg is the argument's index, 0 to MaxArgs-1; NoArg with a Variable.
	Arg  int
	Type ArgType
	// LenArg is the index of the length of a TypeStrLen; 0 otherwise.
	LenArg int
	// Words are those of a TypeWord or TypeFlags, in the --pair grammar: see WordList.
	Words string
	// Probe is another probe of the provider, whose last hit on the thread has the
	// value; empty: the probe of the phase itself. Only at enters.
	Probe string
	// Variable is a variable of the program, by its symbol, that has the value when the
	// probe is hit: the address of a string. Empty: it is an argument.
	Variable string
	// Outer: only a phase that is inside no other of its lane has the attribute.
	Outer bool
}

// Origin says where a pair comes from.
type Origin uint8

// Origins of pairs.
const (
	// OriginMarkers: the probes of our own marker ABI.
	OriginMarkers Origin = 1 + iota
	// OriginCatalogue: the catalogue of well-known programs.
	OriginCatalogue
	// OriginRule: paired by name.
	OriginRule
	// OriginFlag: asked for with --pair.
	OriginFlag
)

// String returns a word for the origin.
func (o Origin) String() string {
	switch o {
	case OriginMarkers:
		return "markers"
	case OriginCatalogue:
		return "catalogue"
	case OriginRule:
		return "naming rule"
	case OriginFlag:
		return "--pair"
	}
	return fmt.Sprintf("Origin(%d)", uint8(o))
}

// KeyArg is a value that the enter and the exit of one phase have in common: the
// indexes of the argument at both probes.
type KeyArg struct{ Enter, Exit int }

// MaxKeyArgs is how many arguments a key may have.
const MaxKeyArgs = 4

// NoArg stands for "no argument" in the index fields of a PairSpec.
const NoArg = -1

// PairSpec is an enter probe and the exit probes that end the same phase.
// The zero PairSpec is not valid; index fields that are unused hold NoArg.
type PairSpec struct {
	Provider, Enter string
	// Exits are the probes that each end the phase; at least one.
	Exits []string
	// Name is the phase's name; used when NameArg is nil.
	Name string
	// Called is what the pair is asked for by where another pair has the Name; empty:
	// by its Name.
	Called string
	// NameArg is the argument of the enter probe that names the phase.
	NameArg *AttrSpec
	// Attrs are captured at enter, ExitAttrs at exit.
	Attrs, ExitAttrs []AttrSpec
	// AttrsJSON is the index of an argument that points to a JSON object of
	// attributes, or to nothing.
	AttrsJSON int
	// TokenArg is the index, at enter and at exit, of the scope's token.
	TokenArg int
	// RankArg is the index of the rank at enter; a negative rank is unset.
	RankArg int
	// Key has the arguments that together match an exit to its enter; nil: scopes
	// nest. Keyed scopes may end on another thread.
	Key []KeyArg
	// Lane is the stack the phase lives on; empty for the default one.
	Lane string
	// Reentrant says whether the phase may be open within itself on one
	// thread and lane. If not, an enter proves that an instance still open
	// is stale.
	Reentrant bool
	// Resets are probes of the same provider that prove, when one fires on a
	// thread, that no instance of this phase is open there any more: what is
	// still open is stale, as after an error that skipped its exit. One that ends in
	// () is a function of the program, which fires as it is entered.
	Resets []string
	// Fails: an instance that is stale has failed, because nothing but an error
	// skips its exit.
	Fails bool
	// DefaultOn says whether the pair is traced without being asked for.
	DefaultOn bool
	// Added: the pair is asked for in addition to the default choice.
	Added bool
	// Named: it stands for every pair of that Name, and has no probes; see [Named].
	Named bool
	// Why gives the reason for DefaultOn, or for its absence.
	Why    string
	Origin Origin
	// Requires says what the user must do for the probes to fire at all; empty
	// for nothing.
	Requires string
}

// newPair returns a pair with the defaults of every unused field.
func newPair(o Origin, provider, enter string, exits ...string) PairSpec {
	return PairSpec{
		Provider: provider, Enter: enter, Exits: exits,
		AttrsJSON: NoArg, TokenArg: NoArg, RankArg: NoArg,
		Reentrant: true, Origin: o,
	}
}

// Keyed reports whether a key matches exits to enters.
func (p *PairSpec) Keyed() bool { return len(p.Key) > 0 }

// markerProvider is the provider of our own markers.
const markerProvider = "phasetrace"

// Markers returns the pair of our own marker ABI:
//
//	enter(u64 token, const char *name, const char *attrs, s32 rank)
//	exit (u64 token, const char *name)
func Markers() PairSpec {
	p := newPair(OriginMarkers, markerProvider, "enter", "exit")
	p.TokenArg, p.AttrsJSON, p.RankArg = 0, 2, 3
	p.NameArg = &AttrSpec{Key: "name", Arg: 1, Type: TypeStr}
	p.DefaultOn, p.Why = true, "phasetrace's own markers"
	return p
}

// WordList returns the words of a TypeWord or TypeFlags.
func (a *AttrSpec) WordList() []Word {
	words, _ := parseWords(a.Words) // read once already
	return words
}

// NoteProbes returns the probes whose last hit tells an attribute, each once.
func (p *PairSpec) NoteProbes() (names []string) {
	for _, a := range p.Attrs {
		if a.Probe != "" && !slices.Contains(names, a.Probe) {
			names = append(names, a.Probe)
		}
	}
	return names
}

// clone returns a copy that shares nothing with p.
func (p PairSpec) clone() PairSpec {
	p.Exits, p.Resets = slices.Clone(p.Exits), slices.Clone(p.Resets)
	p.Attrs, p.ExitAttrs = slices.Clone(p.Attrs), slices.Clone(p.ExitAttrs)
	p.Key = slices.Clone(p.Key)
	if p.NameArg != nil {
		a := *p.NameArg
		p.NameArg = &a
	}
	return p
}
