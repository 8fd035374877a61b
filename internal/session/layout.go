// SPDX-License-Identifier: Apache-2.0

package session

import (
	"fmt"
	"slices"
	"strings"

	"github.com/phasetrace/phasetrace/internal/engine"
	"github.com/phasetrace/phasetrace/internal/probe"

	"github.com/phasetrace/phasetrace/internal/stream"

	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/usdt"
)

// Limits of captured strings in bytes. What is longer is cut and says so.
const (
	maxNameBytes = 255
	maxAttrBytes = 1022 // the programs read one byte more and the closing NUL
)

// pair is a traced pair.
type pair struct {
	*engine.Pair
	spec  usdt.PairSpec
	sites int // that it has
	// context has the numbers of its attributes that other probes tell, by their keys.
	context map[string]int
	// Hits of sites that have been let go of.
	enters, exits uint64
}

func newPair(spec usdt.PairSpec, lane uint8, watched ...engine.WatchedArg) *pair {
	p := &engine.Pair{
		ID:        spec.Provider + ":" + spec.Enter + "/" + strings.Join(spec.Exits, ","),
		Lane:      lane,
		LaneName:  spec.Lane,
		Reentrant: spec.Reentrant,
		Keyed:     spec.Keyed(),
		Fails:     spec.Fails,
		Watched:   watched,
	}
	if spec.NameArg == nil {
		p.Name = []byte(spec.Name)
	}
	return &pair{Pair: p, spec: spec}
}

// site is a planned site.
type site struct {
	*engine.Site
	id   uint32
	pair *pair
	over []*pair // as engine.Site.Over; not nil of a probe.Point
	// takers are the pairs that take attributes from a probe.Point.
	takers []*pair
	// attached: for some process, or for all.
	attached bool
	noted    bool // its probes have been removed, see plan.note
	removed  bool // the same, and they do not come again
	// gate and since are when it was last attached for any process: ns on the
	// monotonic and on the boot clock.
	gate  int64
	since uint64
	// constant is read-only memory of the site's file, when phases are counted.
	constant [2]loader.RelativeRange
}

func newSite(p *pair, effect probe.Effect) *site {
	return &site{pair: p, Site: &engine.Site{
		Pair: p.Pair, Effect: effect,
		Token: engine.None, Rank: engine.None, Name: engine.None, Object: engine.None,
	}}
}

// planner lays out what a site captures.
type planner struct {
	in       *usdt.Site
	captures []probe.Capture
	missing  []string // what there is no room for; usdt.Choose warns of the rest
}

// has reports whether the site has an argument that can be decoded.
func (p *planner) has(i int) bool {
	return i < len(p.in.Args) && p.in.Args[i].Kind != probe.OperandUnsupported
}

// arg returns the index of the capture of argument i, or engine.None when the site
// does not have it or it cannot be decoded. what names it for the user.
func (p *planner) arg(i int, typ probe.CaptureType, lenArg, max int, what string) int {
	if i == usdt.NoArg {
		return engine.None
	}
	if !p.has(i) {
		return engine.None
	}
	c := probe.Capture{Operand: p.in.Args[i], Type: typ, Max: max}
	if typ == probe.CaptureBytes {
		if !p.has(lenArg) {
			return engine.None
		}
		c.Len = p.in.Args[lenArg]
	}
	if n := slices.Index(p.captures, c); n >= 0 {
		return n
	}
	if len(p.captures) >= probe.MaxCaptures {
		p.missing = append(p.missing, fmt.Sprintf("%s:%s: no %s: a marker carries %d values at most",
			p.in.Provider, p.in.Name, what, probe.MaxCaptures))
		return engine.None
	}
	p.captures = append(p.captures, c)
	return len(p.captures) - 1
}

func captureType(t usdt.ArgType) probe.CaptureType {
	switch t {
	case usdt.TypeStr:
		return probe.CaptureStr
	case usdt.TypeStrLen:
		return probe.CaptureBytes
	}
	return probe.CaptureInt
}

// planSite lays out one site of a pair, except where it is probed. Values that the site does not have are
// left out there; missing says which ones there was no room for.
func planSite(p *pair, effect probe.Effect, arch probe.Arch, in *usdt.Site) (s *site, out probe.Site, missing []string) {
	s = newSite(p, effect)
	s.Marker = stream.Marker{Provider: in.Provider, Probe: in.Name, Offset: in.Offset}
	pl := planner{in: in}
	s.Token = pl.arg(p.spec.TokenArg, probe.CaptureInt, 0, 0, "token")
	s.planKey(&pl)
	if effect == probe.Enter {
		s.planEnter(&pl)
	} else {
		s.planAttrs(&pl, p.spec.ExitAttrs)
		s.Outcome = p.spec.Outcome(in.Name)
	}
	s.planWatched(&pl) // if there is room
	out = probe.Site{
		Arch: arch, RefCtr: in.RefCtr,
		Effect: effect, Lane: p.Lane, Captures: pl.captures,
	}
	if p.Keyed {
		out.Lane = probe.NoLane
	}
	return s, out, pl.missing
}

// planKey lays out the key. A site that lacks one of its arguments has none.
func (s *site) planKey(pl *planner) {
	for _, k := range s.pair.spec.Key {
		arg := k.Enter
		if s.Effect == probe.Exit {
			arg = k.Exit
		}
		slot := pl.arg(arg, probe.CaptureInt, 0, 0, "key")
		if slot == engine.None {
			s.Key = nil
			return
		}
		s.Key = append(s.Key, engine.KeyPart{Slot: slot, Size: pl.in.Args[arg].Size})
	}
}

// planWatched lays out the arguments that show whether phases overlap.
func (s *site) planWatched(pl *planner) {
	for _, w := range s.pair.Watched {
		arg := w.Enter
		if s.Effect == probe.Exit {
			arg = w.Exit
		}
		part := engine.KeyPart{Slot: engine.None}
		if pl.has(arg) && len(pl.captures) < probe.MaxCaptures {
			part = engine.KeyPart{Slot: pl.arg(arg, probe.CaptureInt, 0, 0, ""), Size: pl.in.Args[arg].Size}
		}
		s.Watched = append(s.Watched, part)
	}
}

func (s *site) planEnter(pl *planner) {
	spec := &s.pair.spec
	s.Rank = pl.arg(spec.RankArg, probe.CaptureInt, 0, 0, "rank")
	if n := spec.NameArg; n != nil {
		s.Name = pl.arg(n.Arg, captureType(n.Type), n.LenArg, maxNameBytes, "name")
	}
	s.Object = pl.arg(spec.AttrsJSON, probe.CaptureStr, 0, maxAttrBytes, "attributes")
	s.planAttrs(pl, spec.Attrs)
}

func (s *site) planAttrs(pl *planner, attrs []usdt.AttrSpec) {
	for _, a := range attrs {
		if a.Probe != "" {
			if n, ok := s.pair.context[a.Key]; ok {
				s.Attrs = append(s.Attrs, engine.Attr{Key: a.Key, Slot: n, FromContext: true, Outer: a.Outer})
			}
			continue
		}
		slot := pl.arg(a.Arg, captureType(a.Type), a.LenArg, maxAttrBytes, "attribute "+a.Key)
		if slot == engine.None {
			continue
		}
		s.Attrs = append(s.Attrs, attrOf(&a, slot, pl.in))
	}
}

// attrOf is the engine's form of an attribute that is captured in a slot.
func attrOf(a *usdt.AttrSpec, slot int, in *usdt.Site) engine.Attr {
	out := engine.Attr{Key: a.Key, Slot: slot, Format: formatOf(a.Type), Size: in.Args[a.Arg].Size, Outer: a.Outer}
	for _, w := range a.WordList() {
		out.Words = append(out.Words, engine.Word{Value: w.Value, Text: w.Text})
	}
	return out
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

func formatOf(t usdt.ArgType) engine.Format {
	switch t {
	case usdt.TypeStr, usdt.TypeStrLen:
		return engine.FormatText
	case usdt.TypeHex:
		return engine.FormatHex
	case usdt.TypeUint:
		return engine.FormatUint
	case usdt.TypeWord:
		return engine.FormatWord
	case usdt.TypeFlags:
		return engine.FormatFlags
	}
	return engine.FormatInt
}
