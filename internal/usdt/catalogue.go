// SPDX-License-Identifier: Apache-2.0

package usdt

import (
	"fmt"
	"sync"
)

// program is a well-known program or family of programs and its pairs. To add
// one: write its table in a file of its own and name it in programs below.
type program struct {
	name string
	// providers are the providers of its probes. What naming rules find there
	// beyond the pairs below is off by default.
	providers []string
	// unlisted is the reason for that.
	unlisted string
	// requires is the remedy of every pair that has none of its own.
	requires string
	pairs    []entry
}

// entry is a pair in the --pair grammar, and what the grammar cannot say.
type entry struct {
	spec     string
	on       bool   // by default
	why      string // on, or off
	called   string // see PairSpec.Called
	requires string
}

const on, off = true, false

var programs = []program{
	postgresql, hotspot, python, ruby, php, sssd, systemtap, libvirt, guestfs, mir,
	pytorch, seastar, libstdcxx, glibc,
}

// Catalogue returns the pairs of well-known programs. Probe names and
// arguments were read from Debian's packages, PyTorch's and Seastar's from their
// sources.
func Catalogue() []PairSpec {
	pairs := make([]PairSpec, 0, len(catalogue()))
	for _, p := range catalogue() {
		pairs = append(pairs, p.clone())
	}
	return pairs
}

var catalogue = sync.OnceValue(func() []PairSpec {
	var pairs []PairSpec
	for _, prog := range programs {
		for _, e := range prog.pairs {
			p, err := ParsePair(e.spec)
			if err != nil {
				// Not reachable from outside: a test parses every entry.
				panic(fmt.Sprintf("catalogue: %s: %v", prog.name, err))
			}
			p.Origin, p.DefaultOn, p.Requires = OriginCatalogue, e.on, e.requires
			p.Called = e.called
			p.Why = prog.name + ": " + e.why
			if p.Requires == "" {
				p.Requires = prog.requires
			}
			pairs = append(pairs, p)
		}
	}
	return pairs
})

// unlistedReason says why a pair that a naming rule finds at a provider of
// the catalogue is off by default; empty for other providers.
func unlistedReason(provider string) string {
	for _, prog := range programs {
		for _, p := range prog.providers {
			if p == provider {
				return prog.name + ": " + prog.unlisted
			}
		}
	}
	return ""
}
