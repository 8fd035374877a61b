// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/phasetrace/phasetrace/internal/engine"
	"github.com/phasetrace/phasetrace/internal/event"
	"github.com/phasetrace/phasetrace/internal/probe"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// words are the fields NAME=VALUE of a line, and the words without a value.
type words struct {
	t    *testing.T
	line string
	rest []string
}

func wordsOf(t *testing.T, line string) *words {
	return &words{t, line, strings.Fields(line)}
}

func (w *words) fatal(what string) {
	w.t.Helper()
	w.t.Fatalf("%q: %s", w.line, what)
}

// next takes the first word that is left.
func (w *words) next() string {
	w.t.Helper()
	if len(w.rest) == 0 {
		w.fatal("a word is missing")
	}
	first := w.rest[0]
	w.rest = w.rest[1:]
	return first
}

// field takes NAME=VALUE; the value is "" if there is none.
func (w *words) field(name string) (value string, ok bool) {
	for i, word := range w.rest {
		if value, ok := strings.CutPrefix(word, name+"="); ok {
			w.rest = append(w.rest[:i:i], w.rest[i+1:]...)
			return value, true
		}
	}
	return "", false
}

// number takes NAME=NUMBER.
func (w *words) number(name string, otherwise int) int {
	w.t.Helper()
	value, ok := w.field(name)
	if !ok {
		return otherwise
	}
	n, err := strconv.Atoi(value)
	if err != nil {
		w.fatal(err.Error())
	}
	return n
}

// flag takes NAME=yes or NAME=no.
func (w *words) flag(name string, otherwise bool) bool {
	w.t.Helper()
	value, ok := w.field(name)
	if ok && value != "yes" && value != "no" {
		w.fatal(name + " is yes or no")
	}
	return value == "yes" || !ok && otherwise
}

// done fails when something is left.
func (w *words) done() {
	w.t.Helper()
	if len(w.rest) > 0 {
		w.fatal("what is " + strings.Join(w.rest, " ") + "?")
	}
}

func parseConfig(t *testing.T, text string) engine.Config {
	t.Helper()
	c := engine.Config{SessionID: "s", PageSize: 4096}
	for line := range strings.Lines(text) {
		w := wordsOf(t, line)
		switch w.next() {
		case "policy":
			if w.next() != "reject" {
				w.fatal("the only other policy is reject")
			}
			c.Policy = engine.PolicyReject
		case "rank":
			rank, err := strconv.Atoi(w.next())
			if err != nil {
				w.fatal(err.Error())
			}
			c.Rank = int32(rank)
		default:
			w.fatal("unknown setting")
		}
		w.done()
	}
	return c
}

// parseSites reads the section sites:
//
//	pair NAME [phase=NAME] [lane=N] [reentrant=no] [fails=yes] [keyed=yes] [resets=PAIR,…]
//	NUMBER enter|exit PAIR [token=SLOT] [key=SLOT] [rank=SLOT] [name=SLOT] [object=SLOT] [attr=KEY:SLOT]
//	    [context=KEY:NUMBER|variable=KEY:SLOT] [outer=yes]
//	NUMBER point over=PAIR,… [keeps=NUMBER:SLOT]
//
// A slot is the place of a value among those that the site captures. Phases of
// a pair without a phase name are named by its markers.
func parseSites(t *testing.T, text string) (sites []*engine.Site) {
	t.Helper()
	pairs := make(map[string]*engine.Pair)
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		w := wordsOf(t, line)
		first := w.next()
		if first == "pair" {
			name := w.next()
			pairs[name] = parsePair(w, name, pairs)
		} else {
			if first != strconv.Itoa(len(sites)) {
				w.fatal("the number of this site is " + strconv.Itoa(len(sites)))
			}
			sites = append(sites, parseSite(w, pairs))
		}
		w.done()
	}
	return sites
}

func parsePair(w *words, name string, pairs map[string]*engine.Pair) *engine.Pair {
	p := &engine.Pair{ID: "t:" + name, Reentrant: w.flag("reentrant", true), Lane: uint8(w.number("lane", 0))}
	if phase, ok := w.field("phase"); ok {
		p.Name = []byte(phase)
	}
	if p.Lane > 0 {
		p.LaneName = name
	}
	p.Fails = w.flag("fails", false)
	p.Keyed = w.flag("keyed", false)
	p.Resets = pairsNamed(w, "resets", pairs)
	return p
}

func pairsNamed(w *words, field string, pairs map[string]*engine.Pair) (list []*engine.Pair) {
	names, ok := w.field(field)
	if !ok {
		return nil
	}
	for name := range strings.SplitSeq(names, ",") {
		if pairs[name] == nil {
			w.fatal("there is no pair " + name + " above")
		}
		list = append(list, pairs[name])
	}
	return list
}

func parseSite(w *words, pairs map[string]*engine.Pair) *engine.Site {
	s := &engine.Site{}
	effect := w.next()
	switch effect {
	case "point":
		s.Effect, s.Over = probe.Point, pairsNamed(w, "over", pairs)
		s.Pair = s.Over[0]
		if number, ok := w.field("keeps"); ok {
			n, slot := numberedSlot(w, number)
			at, _ := strconv.Atoi(n)
			s.Context = []engine.ContextValue{{Number: at, Attr: engine.Attr{Slot: slot, Format: engine.FormatText}}}
		}
	case "enter":
		s.Effect = probe.Enter
	case "exit":
		s.Effect = probe.Exit
	default:
		w.fatal("unknown effect")
	}
	if s.Pair == nil {
		name := w.next()
		if s.Pair = pairs[name]; s.Pair == nil {
			w.fatal("there is no pair " + name + " above")
		}
	}
	s.Marker = stream.Marker{Provider: "t", Probe: strings.TrimPrefix(s.Pair.ID, "t:") + "_" + effect}
	s.Token = w.number("token", engine.None)
	if slot := w.number("key", engine.None); slot != engine.None {
		s.Key = []engine.KeyPart{{Slot: slot}}
	}
	s.Rank, s.Name = w.number("rank", engine.None), w.number("name", engine.None)
	s.Object = w.number("object", engine.None)
	if attr, ok := w.field("attr"); ok {
		key, n := numberedSlot(w, attr)
		s.Attrs = append(s.Attrs, engine.Attr{Key: key, Slot: n, Size: 8})
	}
	if attr, ok := w.field("context"); ok {
		key, n := numberedSlot(w, attr)
		s.Attrs = append(s.Attrs, engine.Attr{Key: key, Slot: n, FromContext: true, Outer: w.flag("outer", false)})
	}
	if attr, ok := w.field("variable"); ok {
		key, n := numberedSlot(w, attr)
		s.Attrs = append(s.Attrs, engine.Attr{Key: key, Slot: n, Format: engine.FormatText, NullLeftOut: true, Outer: w.flag("outer", false)})
	}
	return s
}

// numberedSlot reads NAME:SLOT.
func numberedSlot(w *words, text string) (string, int) {
	name, slot, _ := strings.Cut(text, ":")
	n, err := strconv.Atoi(slot)
	if err != nil {
		w.fatal(err.Error())
	}
	return name, n
}

// call makes a call of the session:
//
//	! process pid=10 ticks=7               AddProcess, that began at clock tick 7
//	! attached time=5 boot=5 sites=0,1     Attached, for all or with pid=10 for one
//	! detaching time=9                     Detaching
//	! reconcile time=9 tid=11 start=1 pid=10 lost=3
//	! gone time=9 pid=10                   ProcessGone
//	! finish time=9                        Finish
func (s *scenario) call(line string) {
	s.t.Helper()
	w := wordsOf(s.t, strings.TrimPrefix(line, "!"))
	verb := w.next()
	time, pid := int64(w.number("time", 0)), w.number("pid", 0)
	s.engine.Begin()
	switch verb {
	case "process":
		s.engine.AddProcess(stream.Process{PID: pid, HostPID: pid, StartTime: uint64(w.number("ticks", 0))})
	case "attached":
		s.engine.Attached(pid, numbered(w), time, uint64(w.number("boot", 0)))
	case "detaching":
		s.engine.Detaching(time)
	case "removing":
		s.engine.Removing(numbers(w), time)
	case "removed":
		for _, id := range numbers(w) {
			s.engine.RemoveSite(id)
		}
	case "reconcile":
		key := event.ThreadKey{TID: uint32(w.number("tid", 0)), StartTime: uint64(w.number("start", 0))}
		loss := event.ThreadLoss{PID: uint32(pid), Count: uint64(w.number("lost", 0))}
		s.engine.Reconcile(map[event.ThreadKey]event.ThreadLoss{key: loss}, time)
	case "gone":
		s.engine.ProcessGone(pid, 0, time)
	case "finish":
		s.engine.Finish(time)
	default:
		w.fatal("unknown call")
	}
	s.engine.End()
	w.done()
}

func numbers(w *words) (ids []uint32) {
	for _, s := range numbered(w) {
		ids = append(ids, s.ID)
	}
	return ids
}

func numbered(w *words) (sites []probe.Site) {
	list, _ := w.field("sites")
	for text := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(text)
		if err != nil {
			w.fatal(err.Error())
		}
		sites = append(sites, probe.Site{ID: uint32(n)})
	}
	return sites
}
