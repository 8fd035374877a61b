// SPDX-License-Identifier: Apache-2.0

package session

import (
	"time"

	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/probe"
	"github.com/phasetrace/phasetrace/internal/stream"
	"github.com/phasetrace/phasetrace/internal/usdt"
)

// mode is how phases come from the kernel: recorded, boundary by boundary, or
// counted there.
type mode interface {
	// refuses returns why a pair cannot be traced in this mode, nil if it can.
	refuses(usdt.PairSpec) error
	// layOut says what a site captures.
	layOut(*pair, probe.Effect, probe.Arch, *usdt.Site) (s *site, out probe.Site, missing []string)
	// keepsContext reports whether attributes are shown, and sites that tell them needed.
	keepsContext() bool
	// releases reports whether sites and pairs can be let go of.
	releases() bool

	options(*loader.Options)
	use(*loader.Tracer)
	// sitesChanged says that sites have been attached.
	sitesChanged(*plan) error
	// removing says that the probes of sites are about to be removed, while the
	// session goes on. Any goroutine calls it.
	removing(sites []uint32) error
	// begin is called once everything is in place, and detaching before anything
	// is removed, with the time.
	begin() error
	detaching(now int64) error
	// interval is how often the rings are read when nothing wakes the reader.
	interval() time.Duration
	// poll is called after each batch; finish when all has been read.
	poll(now int64) error
	finish(*plan) error
	// hits returns how often a site was hit, as far as the mode knows.
	hits(site uint32) uint64
	// summarise adds what the mode knows to a summary that has the rest.
	summarise(*stream.Summary)
}

// drainInterval is how often the rings are read when nothing wakes the reader.
const drainInterval = 10 * time.Millisecond

// gpuWakeInterval is how soon after the last wakeup a marker wakes the reader
// again when memory is sampled: samples must be taken near boundaries.
const gpuWakeInterval = time.Millisecond

// recording is the mode in which every boundary is recorded.
type recording struct{ core *core }

func (recording) refuses(usdt.PairSpec) error { return nil }

func (recording) layOut(p *pair, effect probe.Effect, arch probe.Arch, in *usdt.Site) (*site, probe.Site, []string) {
	return planSite(p, effect, arch, in)
}

func (recording) keepsContext() bool        { return true }
func (recording) releases() bool            { return true }
func (recording) options(*loader.Options)   {}
func (recording) use(*loader.Tracer)        {}
func (recording) sitesChanged(*plan) error  { return nil }
func (recording) removing([]uint32) error   { return nil }
func (recording) begin() error              { return nil }
func (recording) detaching(int64) error     { return nil }
func (recording) interval() time.Duration   { return drainInterval }
func (recording) poll(int64) error          { return nil }
func (recording) finish(*plan) error        { return nil }
func (r recording) hits(site uint32) uint64 { return r.core.hits(site) }
func (recording) summarise(*stream.Summary) {}
