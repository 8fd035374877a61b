// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/phasetrace/phasetrace/internal/probe"

	"github.com/phasetrace/phasetrace/internal/inspect"
	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/output/human"
)

// judgeProcess says what stands between a process and its trace.
func judgeProcess(s subject, nops loader.Rewriting) []Check {
	alive := Check{Group: GroupProcess, Name: "process", Required: true, Purpose: "look at the process", Result: OK}
	if s.err != nil {
		alive.Result, alive.Detail = Missing, s.err.Error()
		alive.Remedy = "give the PID of a running process, such as pidof prints"
		if errors.Is(s.err, fs.ErrPermission) {
			alive.Remedy = "run as root or with CAP_SYS_PTRACE"
		}
		return []Check{alive}
	}
	alive.Detail = fmt.Sprintf("%s, user %d, %s", s.comm, s.uid, human.Plural(uint64(s.threads), "thread"))
	cs := []Check{alive, s.judgeState(), s.judgeNamespaces(), s.judgeSeccomp(), s.judgeFiles()}
	if s.ourselves() {
		cs[0].Result, cs[0].Required = Warn, false
		cs[0].Detail += "; this is doctor itself"
	}
	before := s.listing.Chosen()
	s.listing.Judge(nops)
	cs = append(cs, judgeNops(s.listing, tracedSites(s.listing), nops)...)
	pairs, dead := s.judgePairs()
	return append(append(cs, s.judgeMarkers(before-s.listing.Chosen(), dead)), pairs...)
}

func (s *subject) judgeState() Check {
	c := Check{Group: GroupProcess, Name: "running", Result: OK, Purpose: "have it reach its markers", Detail: s.state}
	switch {
	case s.tracer != 0:
		c.Result = Warn
		c.Detail = fmt.Sprintf("%s; traced by %s (pid %d)", s.state, s.tracerName, s.tracer)
		c.Remedy = "markers are traced as usual, but whenever the other tracer stops the program, its phases grow longer"
	case s.stopped():
		c.Result, c.Remedy = Warn, fmt.Sprintf("no marker fires until it goes on: kill -CONT %d", s.pid)
	}
	return c
}

func (s *subject) judgeNamespaces() Check {
	c := Check{Group: GroupProcess, Name: "namespaces", Result: OK, Purpose: "find its files and name its threads", Detail: "the same as phasetrace's"}
	if s.container {
		c.Detail = "in namespaces of its own, as in a container; its files are found through /proc"
		if n := len(s.nsPIDs); n > 1 {
			c.Detail = fmt.Sprintf("in namespaces of its own, where it is process %d; its files are found through /proc", s.nsPIDs[n-1])
		}
	}
	return c
}

func (s *subject) judgeSeccomp() Check {
	c := Check{Group: GroupProcess, Name: "seccomp", Result: OK, Purpose: "hit a marker without a forbidden system call", Detail: "no filter"}
	if s.seccomp != "" && s.seccomp != "0" {
		c.Detail = fmt.Sprintf("mode %s, not in the way: a hit of a marker is no system call", s.seccomp)
	}
	return c
}

func (s *subject) judgeFiles() Check {
	c := Check{Group: GroupProcess, Name: "files", Result: OK, Purpose: "read where its markers are"}
	failed := s.listing.Failed()
	c.Detail = human.Plural(uint64(len(s.listing.Files)), "file") + " read"
	if n := len(failed); n > 0 {
		c.Result = Warn
		c.Detail = fmt.Sprintf("%d of %s not read: %s: %v", n, human.Plural(uint64(len(s.listing.Files)), "file"), failed[0].Path, failed[0].Err)
		c.Remedy, c.Advice = "markers in there are not traced", AdviseListing
		if errors.Is(failed[0].Err, fs.ErrPermission) {
			c.Remedy += "; run as root, or give CAP_DAC_READ_SEARCH (files closed to other users) and CAP_CHECKPOINT_RESTORE (deleted libraries) as well"
		}
	}
	problems := 0
	for _, f := range s.listing.Files {
		if f.ELF != nil {
			problems += len(f.ELF.Problems)
		}
	}
	if problems > 0 {
		c.Result = Warn
		c.Detail += fmt.Sprintf("; %s with their markers", human.Plural(uint64(problems), "problem"))
		c.Advice = AdviseListing
	}
	return c
}

// judgeMarkers says whether a trace would have anything to take. refused is the
// number of pairs that are not chosen because of their nops, dead that of chosen
// ones that cannot fire.
func (s *subject) judgeMarkers(refused, dead int) Check {
	c := Check{Group: GroupProcess, Name: "markers", Required: true, Result: OK, Purpose: "have phases to trace"}
	sites, chosen := len(s.listing.Sites), s.listing.Chosen()
	c.Count = sites
	c.Detail = fmt.Sprintf("%s, %s, %d traced", human.Plural(uint64(sites), "site"), human.Plural(uint64(len(s.listing.Choices)), "pair"), chosen)
	switch {
	case sites == 0:
		c.Result, c.Detail = Missing, "no USDT probe in its files"
		c.Remedy = "include phasetrace.h in the program, or use a package that is built with USDT probes"
		c.Advice = AdviseLibrary
	case chosen == 0 && refused > 0:
		c.Result, c.Remedy = Missing, "see the nops above and the pairs below"
	case chosen == 0:
		c.Result, c.Remedy, c.Advice = Missing, "choose which pairs to trace", AdvisePair
	case dead == chosen:
		c.Result, c.Detail = Missing, c.Detail+", and none of these can fire as the process runs now"
		c.Remedy = "see the nops above and the pairs below"
	}
	return c
}

func tracedSites(l *inspect.Listing) map[int]bool {
	traced := make(map[int]bool)
	for i := range l.Choices {
		c := &l.Choices[i]
		if !c.Chosen {
			continue
		}
		for _, part := range [][]int{c.EnterSites, c.ExitSites, c.ResetSites, c.ContextSites} {
			for _, s := range part {
				traced[s] = l.Refused[s] == ""
			}
		}
	}
	return traced
}

// judgeNops says what the instruction under each site means on this kernel:
// one check for each kind there is.
func judgeNops(l *inspect.Listing, traced map[int]bool, kernel loader.Rewriting) []Check {
	var cs []Check
	for _, kind := range []probe.Nop{probe.Nop1, probe.Nop1Then10, probe.NopARM, probe.Nop5, probe.Nop10, probe.NopNone} {
		var n, taken, called int
		for i := range l.Sites {
			if l.Sites[i].Nop != kind {
				continue
			}
			n++
			if l.Used[i] == probe.Nop10 {
				called++
			}
			if traced[i] {
				taken++
			}
		}
		if n == 0 {
			continue
		}
		c := Check{Group: GroupProcess, Name: "nop:" + kind.String(), Purpose: "probe the instruction under a marker", Count: n}
		var meaning string
		c.Result, meaning, c.Remedy = nopMeaning(kind, kernel)
		if kind == probe.Nop1Then10 {
			meaning = pairOfNopsMeaning(n, called)
		}
		c.Detail = fmt.Sprintf("%s, %d traced: %s", human.Plural(uint64(n), "site"), taken, meaning)
		cs = append(cs, c)
	}
	return cs
}

func nopMeaning(kind probe.Nop, kernel loader.Rewriting) (r Result, meaning, remedy string) {
	switch kind {
	case probe.Nop1:
		return OK, "one-byte nops, safe on every kernel", ""
	case probe.Nop1Then10: // safe on every kernel, see pairOfNopsMeaning
		return OK, "", ""
	case probe.NopARM:
		return OK, "nops, safe on every kernel", ""
	case probe.Nop5:
		return nop5Meaning(kernel)
	case probe.Nop10:
		return nop10Meaning(kernel)
	}
	return Warn, "not nops: works, but each hit may cost microseconds more", "rebuild the program with the markers of phasetrace.h or sys/sdt.h"
}

// pairOfNopsMeaning says which nop is probed of n sites that have two; called of
// them become calls.
func pairOfNopsMeaning(n, called int) string {
	const nops = "one-byte nops with a ten-byte nop behind, "
	switch called {
	case 0:
		return nops + "probed at the one-byte nop, safe on every kernel"
	case n:
		return nops + "probed at the ten-byte nop, which becomes a call on this kernel, safely"
	}
	return fmt.Sprintf(nops+"%d probed at the ten-byte nop, which becomes a call on this kernel, safely, and %d at the one-byte nop, because the other crosses a page border",
		called, n-called)
}

func nop5Meaning(kernel loader.Rewriting) (r Result, meaning, remedy string) {
	const rebuild = "rebuild the program with one-byte nops (phasetrace.h, sys/sdt.h), or use a kernel that does not rewrite five-byte nops (before 6.18, from 7.3 on)"
	switch kernel {
	case loader.RewritingFive:
		return Warn, "five-byte nops, UNSAFE on this kernel: it overwrites the program's stack below the stack pointer, and a child forked after the first hit dies at the probe", rebuild
	case loader.RewritingUnknown:
		return Unknown, "five-byte nops, unsafe on some kernels; phasetrace cannot tell whether this is one", rebuild
	}
	return OK, "five-byte nops, which this kernel traps like any other", ""
}

func nop10Meaning(kernel loader.Rewriting) (r Result, meaning, remedy string) {
	const rebuild = "rebuild the program with one-byte nops in front (phasetrace.h), or use Linux 7.3 or later"
	switch kernel {
	case loader.RewritingTen:
		return OK, "ten-byte nops, fast on this kernel", ""
	case loader.RewritingUnknown:
		return Unknown, "ten-byte nops, dead on some kernels; phasetrace cannot tell whether this is one", rebuild
	}
	return Missing, "ten-byte nops, DEAD on this kernel: a probe is accepted and never fires", rebuild
}
