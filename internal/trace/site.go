// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"fmt"
	"strings"

	"github.com/phasetrace/phasetrace/internal/stream"

	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/usdt"
)

// none marks a value that a site does not capture.
const none = -1

// Limits of captured strings in bytes. What is longer is cut and says so.
const (
	maxNameBytes = 255
	maxAttrBytes = 1022 // the programs read one byte more and the closing NUL
)

// pair is a traced pair.
type pair struct {
	spec usdt.PairSpec
	name []byte // literal name, nil when the marker names the phase
	lane uint8
	// resets are the pairs of which nothing can be open when this is entered.
	resets []*pair
}

func (p *pair) keyed() bool { return p.spec.KeyArg != usdt.NoArg }

// laneName is the recorder's name of the pair's lane.
func (p *pair) laneName() string {
	if p == nil {
		return ""
	}
	return p.spec.Lane
}

// site is an attached site and where its captured values are.
type site struct {
	stream.Marker
	pair *pair
	role loader.Role
	// over holds the pairs of which a hit of this site proves that nothing is
	// open on the thread; such a site begins and ends nothing itself.
	over []*pair
	// attached: for some process, or for all.
	attached bool
	// gate is when the site was last attached for any process, and gateAll when
	// it was for all of them; see Engine.Attached.
	gate, gateAll gate
	hits          uint64
	// Indexes into Event.Values, or none.
	token, key, rank, name, object int
	attrs                          []attrSlot
	// constant is read-only memory of the site's file, when phases are counted.
	constant [2]loader.RelativeRange
}

// attrSlot is an attribute and where its value is.
type attrSlot struct {
	label []byte // `"key":`, quoted and escaped
	key   string
	slot  int
	typ   usdt.ArgType
	size  int // of the argument in bytes
}

// planner lays out what a site captures.
type planner struct {
	in       *usdt.Site
	captures []loader.Capture
	missing  []string // what there is no room for; usdt.Choose warns of the rest
}

// arg returns the index of the capture of argument i, or none when the site
// does not have it or it cannot be decoded. what names it for the user.
func (p *planner) arg(i int, typ loader.CaptureType, lenArg, max int, what string) int {
	if i == usdt.NoArg {
		return none
	}
	usable := func(i int) bool {
		return i < len(p.in.Args) && p.in.Args[i].Kind != usdt.ArgUnsupported
	}
	if !usable(i) {
		return none
	}
	if len(p.captures) >= loader.MaxCaptures {
		p.missing = append(p.missing, fmt.Sprintf("%s:%s: no %s: a marker carries %d values at most",
			p.in.Provider, p.in.Name, what, loader.MaxCaptures))
		return none
	}
	c := loader.Capture{Arg: p.in.Args[i], Type: typ, Max: max}
	if typ == loader.CaptureBytes {
		if !usable(lenArg) {
			return none
		}
		c.Len = p.in.Args[lenArg]
	}
	p.captures = append(p.captures, c)
	return len(p.captures) - 1
}

func captureType(t usdt.ArgType) loader.CaptureType {
	switch t {
	case usdt.TypeStr:
		return loader.CaptureStr
	case usdt.TypeStrLen:
		return loader.CaptureBytes
	}
	return loader.CaptureInt
}

// planSite lays out one site of a pair. Values that the site does not have are
// left out there; missing says which ones there was no room for.
func planSite(p *pair, role loader.Role, arch usdt.Arch, in *usdt.Site) (s *site, out loader.Site, missing []string) {
	s = &site{pair: p, role: role}
	s.Marker = stream.Marker{Provider: in.Provider, Probe: in.Name, Offset: in.Offset}
	pl := planner{in: in}
	s.token = pl.arg(p.spec.TokenArg, loader.CaptureInt, 0, 0, "token")
	s.key = pl.arg(p.spec.KeyArg, loader.CaptureInt, 0, 0, "key")
	s.rank, s.name, s.object = none, none, none
	if role == loader.Enter {
		s.planEnter(&pl)
	}
	out = loader.Site{
		Arch: arch, Location: in.Location, Offset: in.Offset, RefCtr: in.RefCtr,
		Role: role, Lane: p.lane, Captures: pl.captures,
	}
	if p.keyed() {
		out.Lane = loader.NoLane
	}
	return s, out, pl.missing
}

func (s *site) planEnter(pl *planner) {
	spec := &s.pair.spec
	s.rank = pl.arg(spec.RankArg, loader.CaptureInt, 0, 0, "rank")
	if n := spec.NameArg; n != nil {
		s.name = pl.arg(n.Arg, captureType(n.Type), n.LenArg, maxNameBytes, "name")
	}
	s.object = pl.arg(spec.AttrsJSON, loader.CaptureStr, 0, maxAttrBytes, "attributes")
	for _, a := range spec.Attrs {
		slot := pl.arg(a.Arg, captureType(a.Type), a.LenArg, maxAttrBytes, "attribute "+a.Key)
		if slot == none {
			continue
		}
		label := append(appendString(nil, []byte(a.Key)), ':')
		s.attrs = append(s.attrs, attrSlot{label, a.Key, slot, a.Type, pl.in.Args[a.Arg].Size})
	}
}

// info tells sinks about a pair.
func (p *pair) info(sites int) stream.PairInfo {
	name := p.spec.Name
	if p.spec.NameArg != nil {
		name = "named by the marker"
	}
	return stream.PairInfo{
		Name: name, Provider: p.spec.Provider, Enter: p.spec.Enter,
		Exits: p.spec.Exits, Lane: p.spec.Lane, Origin: p.spec.Origin.String(), Sites: sites,
	}
}

// String is the pair as --pair would have it.
func (p *pair) String() string {
	return p.spec.Provider + ":" + p.spec.Enter + "/" + strings.Join(p.spec.Exits, ",")
}
