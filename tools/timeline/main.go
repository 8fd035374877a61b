// SPDX-License-Identifier: Apache-2.0

// Timeline draws the phases of a session, as JSON lines have them, as an SVG: a
// band for each thread, in it a row for each depth. The README's picture is one.
//
//	go run -C tools ./timeline [-from 0s] [-to 1s] FILE.jsonl > picture.svg
//
// It knows the JSON lines of phasetrace, and none of its packages.
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"html"
	"io"
	"os"
	"slices"
	"time"
)

// Measures of the picture, in pixels.
const (
	width   = 980
	left    = 90 // of the thread names
	right   = 20
	row     = 17
	gap     = 10 // between threads
	top     = 8
	letter  = 6.1 // width of one, about
	minimum = 0.6 // narrowest phase
)

// colours of the phases, by their names in order of appearance. All are light
// enough for black text.
var colours = []string{"#9ecae9", "#ffbf79", "#88d27a", "#f2cf5b", "#83bcb6", "#ff9d98", "#d6a5c9", "#d8b5a5", "#bab0ac", "#b6d0a0", "#c5b8f0", "#e8e49c"}

// line is what the picture needs of a JSON line.
type line struct {
	EventType string `json:"event_type"`
	Time      int64  `json:"monotonic_ns"`
	Duration  int64  `json:"duration_ns"`
	Metadata  struct {
		Scope struct {
			Name       string `json:"name"`
			Depth      int    `json:"depth"`
			ThreadID   int    `json:"thread_id"`
			ThreadName string `json:"thread_name"`
		} `json:"phase_scope"`
	} `json:"metadata"`
}

// phase is one scope. Times are since the start of the session, in ns.
type phase struct {
	name       string
	depth      int // from 0
	begin, end int64
}

// thread is a band of the picture.
type thread struct {
	id     int
	name   string
	phases []phase
	rows   int
}

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "timeline:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("timeline", flag.ContinueOnError)
	from := flags.Duration("from", 0, "where the picture begins, from the start of the session")
	to := flags.Duration("to", time.Second, "where it ends")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 1 || *to <= *from {
		return errors.New("usage: timeline [-from 0s] [-to 1s] FILE.jsonl")
	}
	f, err := os.Open(flags.Arg(0))
	if err != nil {
		return err
	}
	defer f.Close()
	threads, err := read(f, int64(*from), int64(*to))
	if err != nil {
		return fmt.Errorf("read %s: %w", flags.Arg(0), err)
	}
	return draw(out, threads, int64(*from), int64(*to))
}

// read returns the threads that have phases between two times, by their names.
func read(r io.Reader, from, to int64) ([]*thread, error) {
	var start int64
	byID := make(map[int]*thread)
	in := bufio.NewScanner(r)
	in.Buffer(nil, 1<<26)
	for in.Scan() {
		var l line
		if err := json.Unmarshal(in.Bytes(), &l); err != nil {
			return nil, err
		}
		s := l.Metadata.Scope
		p := phase{name: s.Name, depth: s.Depth - 1, begin: l.Time - l.Duration - start, end: l.Time - start}
		switch {
		case l.EventType == "session_start":
			start = l.Time
		case l.EventType == "phase_exit" && p.end > from && p.begin < to:
			t := byID[s.ThreadID]
			if t == nil {
				t = &thread{id: s.ThreadID}
				byID[s.ThreadID] = t
			}
			t.name, t.rows = s.ThreadName, max(t.rows, s.Depth)
			t.phases = append(t.phases, p)
		}
	}
	var threads []*thread
	for _, t := range byID {
		threads = append(threads, t)
	}
	slices.SortFunc(threads, func(a, b *thread) int { return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.id, b.id)) })
	return threads, in.Err()
}

func draw(out io.Writer, threads []*thread, from, to int64) error {
	w := bufio.NewWriter(out)
	height := top + 24
	for _, t := range threads {
		height += t.rows*row + gap
	}
	x := func(at int64) float64 { return left + (width-left-right)*float64(at-from)/float64(to-from) }
	fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" font-family="monospace" font-size="10">`+"\n", width, height)
	fmt.Fprintf(w, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", width, height)
	axis := height - 22
	for i := int64(0); i <= 10; i++ {
		at := from + (to-from)*i/10
		fmt.Fprintf(w, `<path d="M%.1f %dV%d" stroke="#ddd"/><text x="%.1f" y="%d" text-anchor="middle" fill="#555">%v</text>`+"\n",
			x(at), top, axis, x(at), axis+14, time.Duration(at))
	}
	colourOf := make(map[string]string)
	y := top
	for _, t := range threads {
		fmt.Fprintf(w, `<text x="4" y="%d" fill="#000">%s</text>`+"\n", y+12, html.EscapeString(t.name))
		for _, p := range t.phases {
			if colourOf[p.name] == "" {
				colourOf[p.name] = colours[len(colourOf)%len(colours)]
			}
			a, b := x(max(p.begin, from)), x(min(p.end, to))
			bar(w, p, colourOf[p.name], a, max(b-a, minimum), y+p.depth*row)
		}
		y += t.rows*row + gap
	}
	fmt.Fprintln(w, "</svg>")
	return w.Flush()
}

// bar draws a phase, with its name where there is room.
func bar(w io.Writer, p phase, colour string, x, width float64, y int) {
	fmt.Fprintf(w, `<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s" stroke="#fff" stroke-width=".5"/>`,
		x, y, width, row-1, colour)
	if float64(len(p.name))*letter < width-4 {
		fmt.Fprintf(w, `<text x="%.1f" y="%d">%s</text>`, x+3, y+12, html.EscapeString(p.name))
	}
	fmt.Fprintln(w)
}
