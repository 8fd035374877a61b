// SPDX-License-Identifier: Apache-2.0

package session

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/testenv"
)

// A program with a thousand phases, each with sites of its own: all are
// attached and traced, and all are gone soon. Where each site is a link of its
// own, as without uprobe_multi, that takes minutes, and other tests show it.
func TestManySites(t *testing.T) {
	const sites = 1000
	testenv.BPF(t)
	features, err := loader.DetectFeatures(testenv.Without(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range modes {
		if m.without.UprobeMulti || !features.UprobeMulti {
			continue
		}
		t.Run(m.name, func(t *testing.T) {
			p := fixture.Start(t, fixture.Build(t, "sites.c", "-DSITES=1000"))
			p.Expect("ready")
			began := time.Now()
			tr := attach(t, []int{p.Pid()}, Config{Without: m.without})
			attached := time.Since(began)
			p.WriteLine("go")
			p.Expect(fmt.Sprintf("done %d", sites))
			p.WaitOK()
			began = time.Now()
			sum := tr.wait()
			t.Logf("%d sites: session ready after %v, over %v after the program", 2*sites, attached, time.Since(began))
			if len(sum.Paths) != sites || sum.Received != 2*sites || len(sum.ZeroSites) != 0 {
				t.Errorf("%d paths, %d markers, %d sites never hit; want %d, %d and none",
					len(sum.Paths), sum.Received, len(sum.ZeroSites), sites, 2*sites)
			}
		})
	}
}

// Sites that nobody hit, and pairs of which only one side was hit, are named.
func TestDeadSites(t *testing.T) {
	p, _, _ := startShop(t, 2) // both queries of two rounds are ended
	tr := attach(t, []int{p.Pid()}, Config{Pairs: mustPairs(t,
		"shop:order__start/order__done",
		"shop:sale__start/sale__abort;lane=sale",
		"shop:request__begin/query__done;lane=other")})
	p.WriteLine("go")
	p.ReadLine()
	p.WaitOK()
	sum := tr.wait()
	if len(sum.ZeroSites) != 0 {
		t.Errorf("never hit: %v; all were", sum.ZeroSites)
	}

	idle, _, _ := startShop(t, 1) // its only sale is committed, and nothing is aborted
	tr = attach(t, []int{idle.Pid()}, Config{Pairs: mustPairs(t,
		"shop:sale__start/sale__abort;lane=sale", "shop:order__start/order__done")})
	idle.WriteLine("go")
	idle.ReadLine()
	idle.WaitOK()
	sum = tr.wait()
	if len(sum.ZeroSites) != 1 || sum.ZeroSites[0].Marker.Probe != "sale__abort" {
		t.Errorf("never hit: %+v; want sale__abort", sum.ZeroSites)
	}
	const want = "pair shop:sale__start/sale__abort was entered and never exited"
	if len(sum.Notes) != 1 || !strings.HasPrefix(sum.Notes[0].What, want) || sum.Notes[0].Count != 1 {
		t.Errorf("notes %v, want %q once", sum.Notes, want)
	}
}

// A probe that was hit at one of its sites is hit, whatever copies of it there are.
func TestCopiesOfSites(t *testing.T) {
	p := fixture.Start(t, fixture.Build(t, "copies.c"))
	p.Expect("ready")
	tr := attach(t, []int{p.Pid()}, Config{})
	w := tr.session.watcher
	w.mu.Lock()
	sites := len(w.plan.sites)
	w.mu.Unlock()
	p.WriteLine("go")
	p.Expect("done 3")
	p.WaitOK()
	sum := tr.wait()
	var never []string
	for _, z := range sum.ZeroSites {
		never = append(never, z.Marker.Probe)
	}
	if want := []string{"rest__done", "rest__start"}; sites != 5 || !slices.Equal(slices.Sorted(slices.Values(never)), want) {
		t.Errorf("%d sites, never hit: %v; want 5, and %v", sites, never, want)
	}
}

// A file that several processes run counts once.
func TestSitesOfManyProcesses(t *testing.T) {
	file := fixture.Build(t, "sites.c", "-DSITES=100")
	var pids []int
	for range 3 {
		p := fixture.Start(t, file)
		p.Expect("ready")
		pids = append(pids, p.Pid())
	}
	tr := attach(t, pids, Config{})
	w := tr.session.watcher
	w.mu.Lock()
	said := w.attachedMessage()
	w.mu.Unlock()
	tr.stop()
	if !strings.Contains(said, ": 1 pair, 200 sites in 1 file, ") {
		t.Errorf("said %q; want 200 sites in 1 file", said)
	}
}
