// SPDX-License-Identifier: Apache-2.0

package usdt

// nature says what kind of work a couple of words brackets, and so whether a pair
// of them can be traced unasked.
type nature uint8

const (
	// work begins and ends on one thread, and nests.
	work nature = iota
	// errand is sent off and comes back: an event loop has many under way on one
	// thread, so only an argument can say which of them an exit means.
	errand
	// message is an errand in the style of SSSD, or two events that have nothing to
	// do with each other. The names are the same.
	message
	// span is work in some programs; in most that were looked at it is how long a
	// timer, a device or a thread runs.
	span
	// lifetime is that of an object, such as an open file or a held lock.
	lifetime
)

// couple is a word that enters a phase and one that exits it.
type couple struct {
	enter, exit string
	nature      nature
}

// couples in the order of preference: where a name has several enters or several
// exits, an earlier couple takes them.
var couples = func() []couple {
	var cs []couple
	add := func(n nature, enter string, exits ...string) {
		for _, exit := range exits {
			cs = append(cs, couple{enter, exit, n})
		}
	}
	add(work, "begin", "end", "done")
	add(work, "start", "done", "end", "finish", "complete")
	add(work, "enter", "exit", "leave", "return")
	add(work, "entry", "return", "exit")
	add(work, "started", "finished", "ended", "completed", "done")
	add(work, "began", "finished", "ended", "completed", "done")
	add(work, "entered", "exited", "left")
	add(work, "begin", "finish", "complete", "commit")
	add(work, "start", "commit", "finished", "completed", "ended")
	add(work, "call", "return")
	add(work, "pre", "post")
	add(work, "before", "after")
	add(work, "startup", "shutdown")
	add(span, "start", "stop", "stopped")
	add(span, "begin", "stop")
	add(span, "started", "stopped")
	add(errand, "submit", "complete", "done")
	add(errand, "issue", "complete", "done")
	add(errand, "request", "response", "reply")
	add(message, "send", "recv", "receive", "done")
	add(lifetime, "open", "close")
	add(lifetime, "opened", "closed")
	add(lifetime, "acquire", "release")
	add(lifetime, "acquired", "released", "release")
	return cs
}()

// closers end the same phase beside its proper exit, when the work fails.
var closers = []string{
	"abort", "aborted", "cancel", "canceled", "cancelled", "fail", "failed", "rollback",
}

// Words by what they are good for.
var (
	// leading may begin a name, as in start_job and end_job.
	leading = set("begin", "began", "start", "started", "enter", "entered", "before",
		"end", "ended", "done", "stop", "stopped", "finish", "finished", "complete", "completed",
		"exit", "exited", "leave", "left", "after")
	// inside may be in the middle of a name, as in context_before_check.
	inside = set("begin", "start", "before", "end", "done", "finish", "complete", "after")
	// glued may follow a word with nothing between, as in gcstart and gcdone.
	glued = []string{"begin", "start", "end", "done", "stop", "finish"}
	// nouns stay in the name of a phase.
	nouns = set("request", "call")
	// things name a phase alone; the other words leave it to the provider.
	things = set("request", "call", "send", "submit", "issue", "open", "acquire")
	// afters may follow the whole name of another probe, as in parse and parse_done.
	afters = set("done", "complete", "completed", "finished", "end", "return")

	enters = set(wordsIn(func(c couple) string { return c.enter })...)
	exits  = set(append(wordsIn(func(c couple) string { return c.exit }), closers...)...)
)

func wordsIn(of func(couple) string) []string {
	var ws []string
	for _, c := range couples {
		ws = append(ws, of(c))
	}
	return ws
}

func set(words ...string) map[string]bool {
	m := make(map[string]bool, len(words))
	for _, w := range words {
		m[w] = true
	}
	return m
}

// place is where in a name the word is that makes it an enter or an exit, in the
// order of preference.
type place uint8

const (
	last place = iota
	first
	middle
	joined // glued to what is before it
)

// form is a way to read a probe's name: one of its words says that the probe
// enters or exits, and the rest says what.
type form struct {
	place place
	word  string // lower case
	// before and after are the rest of the name.
	before, after string
	text          string // the word and what separates it from the rest, as written
}

// formsOf appends the ways to read a name to fs.
func formsOf(name string, fs []form) []form {
	var buf [8]word
	ws := wordsOf(name, buf[:0])
	if len(ws) == 0 {
		return fs
	}
	end := ws[len(ws)-1]
	if enters[end.lower] || exits[end.lower] {
		from := 0
		if len(ws) > 1 {
			from = ws[len(ws)-2].end
		}
		fs = append(fs, form{last, end.lower, name[:end.start], name[end.end:], name[from:]})
	}
	if w := ws[0]; len(ws) > 1 && leading[w.lower] {
		fs = append(fs, form{first, w.lower, name[:w.start], name[w.end:], name[:ws[1].start]})
	}
	for i := 1; i < len(ws)-1; i++ {
		if w := ws[i]; inside[w.lower] {
			fs = append(fs, form{middle, w.lower, name[:w.start], name[w.end:], name[w.start:w.end]})
		}
	}
	for _, g := range glued {
		if n := len(end.lower) - len(g); n > 0 && end.lower[n:] == g && end.end-end.start == len(end.lower) {
			fs = append(fs, form{joined, g, name[:end.start+n], name[end.end:], name[end.start+n:]})
		}
	}
	return fs
}
