// SPDX-License-Identifier: Apache-2.0

package usdt

import (
	"slices"

	"github.com/phasetrace/phasetrace/internal/probe"
)

// maxShown is the number of arguments that a pair made by a rule shows.
const maxShown = 6

// integers returns the integer arguments of a pair's enter as attributes: those that
// every site has. An unsigned one of eight bytes may be an address, so it is shown in
// hexadecimal.
// Pairs with the same ones share them.
func (m *matcher) integers(p *PairSpec) []AttrSpec {
	var buf [maxShown]AttrSpec
	attrs := buf[:0]
	sites := m.ix[probeKey{p.Provider, p.Enter}]
	for arg := 0; arg < MaxArgs && len(attrs) < maxShown; arg++ {
		if typ, ok := m.integer(arg, sites); ok {
			attrs = append(attrs, AttrSpec{Key: argKeys[arg], Arg: arg, Type: typ})
		}
	}
	if len(attrs) == 0 {
		return nil
	}
	shared := m.shown[buf]
	if shared == nil {
		shared = slices.Clone(attrs)
		m.shown[buf] = shared
	}
	return shared
}

// argKeys are what the arguments are called.
var argKeys = [MaxArgs]string{"arg0", "arg1", "arg2", "arg3", "arg4", "arg5", "arg6", "arg7", "arg8", "arg9", "arg10", "arg11"}

// integer returns how an argument is shown, if it can be read at all of the sites.
func (m *matcher) integer(arg int, sites []int) (ArgType, bool) {
	typ := TypeInt
	for _, i := range sites {
		if arg >= len(m.sites[i].Args) || m.sites[i].Args[arg].Err != nil {
			return typ, false
		}
		if o := &m.sites[i].Args[arg]; o.Size == 8 && !o.Signed {
			typ = TypeHex
		}
	}
	return typ, true
}

// setKey gives a pair the key that its arguments offer, or else a lane of its own,
// so that what crosses others does not break their nesting.
func (m *matcher) setKey(p *PairSpec) {
	sites := m.ix.all(p.Provider, append([]string{p.Enter}, p.Exits...))
	if arg := m.offered(sites); arg == NoArg {
		p.Lane = p.Name
	} else {
		p.Key = []KeyArg{{Enter: arg, Exit: arg}}
	}
}

// offered returns the argument that could tell which enter an exit belongs to: the
// first one if it has four or eight bytes, the same number at every site, and is not
// a constant; else the only one like that. Handles and numbers of requests come first
// by custom, though often enough it is something that several requests share.
func (m *matcher) offered(sites []int) int {
	found := NoArg
	for arg := range MaxArgs {
		if !m.identifies(arg, sites) {
			continue
		}
		if arg == 0 {
			return 0
		}
		if found != NoArg {
			return NoArg
		}
		found = arg
	}
	return found
}

// alone says whether the enter has no other argument than the key: then nothing else
// can be what identifies the request.
func (m *matcher) alone(p *PairSpec) bool {
	for _, i := range m.ix[probeKey{p.Provider, p.Enter}] {
		if len(m.sites[i].Args) != 1 {
			return false
		}
	}
	return true
}

func (m *matcher) identifies(arg int, sites []int) bool {
	size := 0
	for _, i := range sites {
		if arg >= len(m.sites[i].Args) {
			return false
		}
		o := &m.sites[i].Args[arg]
		if o.Err != nil || o.Kind == probe.OperandConst || o.Size < 4 || size != 0 && o.Size != size {
			return false
		}
		size = o.Size
	}
	return size != 0
}
