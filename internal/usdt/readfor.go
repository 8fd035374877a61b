// SPDX-License-Identifier: Apache-2.0

package usdt

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// functionCall is how the name of a function ends where a probe may stand too.
const functionCall = "()"

// functionName returns the symbol of a reset that is a function.
func functionName(reset string) (symbol string, ok bool) {
	return strings.CutSuffix(reset, functionCall)
}

// IsFunction reports whether a site is the entry of a function, and no probe.
func (s *Site) IsFunction() bool { return strings.HasSuffix(s.Name, functionCall) }

// MissingFunctions returns the pair's functions that its files do not have, each once.
func (c *Choice) MissingFunctions(sites []Site) (names []string) {
	for _, reset := range c.Pair.Resets {
		if _, ok := functionName(reset); ok && !slices.ContainsFunc(c.ResetSites, func(i int) bool { return sites[i].Name == reset }) {
			names = append(names, reset)
		}
	}
	return names
}

// ReadFor is [Read] for a trace: it also finds the functions and the variables that
// pairs name, those of the catalogue and others. A function is one more of the file's
// sites, called as the pair has it; variables are in Site.Variables. Those that the
// file does not have, or has under one name twice, are left out.
func ReadFor(r io.ReaderAt, size int64, pairs []PairSpec) (file *File, err error) {
	f, err := Read(r, size)
	if err != nil || len(f.Sites) == 0 {
		return f, err
	}
	defer func() {
		if p := recover(); p != nil {
			file, err = nil, fmt.Errorf("read ELF file: malformed in a way that was not foreseen (%v); please report it", p)
		}
	}()
	wanted := make(map[string]*symbolNames) // by provider
	for i := range f.Sites {
		wanted[f.Sites[i].Provider] = nil
	}
	found := false
	for _, list := range [][]PairSpec{catalogue(), pairs} {
		for i := range list {
			p := &list[i]
			if n, here := wanted[p.Provider]; here && p.namesSymbols() {
				if n == nil {
					n = &symbolNames{}
					wanted[p.Provider] = n
				}
				n.add(p)
				found = true
			}
		}
	}
	if !found {
		return f, nil
	}
	im, err := openImage(r, size)
	if err != nil {
		return nil, err
	}
	f.addNamed(im, wanted)
	return f, nil
}

// symbolNames are the symbols that pairs of a provider name.
type symbolNames struct{ functions, variables []string }

// namesSymbols reports whether a pair names any.
func (p *PairSpec) namesSymbols() bool {
	var n symbolNames
	n.add(p)
	return len(n.functions)+len(n.variables) > 0
}

func (n *symbolNames) add(p *PairSpec) {
	for _, reset := range p.Resets {
		if name, ok := functionName(reset); ok && !slices.Contains(n.functions, name) {
			n.functions = append(n.functions, name)
		}
	}
	for _, attrs := range [][]AttrSpec{p.Attrs, p.ExitAttrs} {
		for _, a := range attrs {
			if a.Variable != "" && !slices.Contains(n.variables, a.Variable) {
				n.variables = append(n.variables, a.Variable)
			}
		}
	}
}

// addNamed adds what the symbol tables have of these.
func (f *File) addNamed(im *image, wanted map[string]*symbolNames) {
	table := symbolTable{wanted: make(map[string]*symbol)}
	for _, n := range wanted {
		if n == nil {
			continue
		}
		for _, name := range slices.Concat(n.functions, n.variables) {
			_, _ = table.want(name)
		}
	}
	table.load(im)
	const pointer = 8 // bytes
	variables := make(map[string]map[string]uint64)
	for provider, n := range wanted {
		if n == nil {
			continue
		}
		of := make(map[string]uint64)
		for _, name := range n.variables {
			if addr, err := table.lookup(name); err == nil && im.mapped(addr, pointer) {
				of[name] = addr
			}
		}
		variables[provider] = of
	}
	for i := range f.Sites {
		f.Sites[i].Variables = variables[f.Sites[i].Provider]
	}
	reader := siteReader{f: im, code: im.code(), table: &table, p: &problems{}}
	for _, provider := range slices.Sorted(maps.Keys(wanted)) {
		if wanted[provider] == nil {
			continue
		}
		for _, name := range wanted[provider].functions {
			s := Site{Provider: provider, Name: name + functionCall}
			var err error
			if s.Location, err = table.lookup(name); err == nil && reader.place(&s) {
				f.Sites = append(f.Sites, s)
			}
		}
	}
}
