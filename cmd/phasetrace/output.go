// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/phasetrace/phasetrace/internal/filter"
	"github.com/phasetrace/phasetrace/internal/output/file"
	"github.com/phasetrace/phasetrace/internal/output/human"
	"github.com/phasetrace/phasetrace/internal/output/jsonl"
	"github.com/phasetrace/phasetrace/internal/output/summary"
	"github.com/phasetrace/phasetrace/internal/output/text"
	"github.com/phasetrace/phasetrace/internal/session"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// outputs are where a session goes, and a sink of it. Each runs on a goroutine of
// its own: none holds up the session or another one. One that fails is told at
// once, and ends the session when it was the last.
type outputs struct {
	each []*output
	left int // that have not failed
	// lines says that a person sees the session as it goes on.
	lines bool
	// filter says which boundaries are written.
	filter filter.Filter
	say    func(string)
	// after gets the summary when no stream shows it to a person.
	after        io.Writer
	afterOptions summary.Options
}

// output is one place where a session goes.
type output struct {
	name string
	sink *stream.AsyncSink
	err  error      // of the sink, once it is known
	file *file.File // nil for standard output
	// shows says that a person sees the summary in the stream; wants that they
	// should see it elsewhere if not; lines that they see more than the summary.
	shows, wants, lines bool
}

// openOutputs opens what -o and --format ask for, before anything is attached.
// Where that is a pipe it waits for the reader until ctx ends.
func openOutputs(ctx context.Context, o *traceOptions, s *streams, say func(string)) (*outputs, error) {
	out := &outputs{say: say, filter: o.filter, afterOptions: o.summaryOptions(isTerminal(s.err), columns(s.err))}
	shows, wants := false, false
	for _, path := range o.outputPaths() {
		d, err := o.openOutput(ctx, path, s, say)
		if err != nil {
			return nil, errors.Join(err, out.abandon())
		}
		out.each = append(out.each, d)
		shows, wants = shows || d.shows, wants || d.wants
		out.lines = out.lines || d.lines
	}
	if wants && !shows {
		out.after = s.err
	}
	out.left = len(out.each)
	return out, nil
}

func (o *traceOptions) openOutput(ctx context.Context, path string, s *streams, say func(string)) (*output, error) {
	d := &output{name: path}
	var w io.Writer = s.out
	width := func() int { return columns(s.out) }
	if path == file.Stdout {
		d.name = "standard output"
	} else {
		f, err := file.Create(ctx, path, say)
		if err != nil {
			return nil, err
		}
		d.file, w, width = f, f, f.Columns
	}
	onTerminal := d.file == nil && isTerminal(w) || d.file != nil && d.file.IsTerminal()
	options := o.summaryOptions(onTerminal, width())
	d.lines = onTerminal && o.formatOf(path) != "summary" && !o.aggregate
	var sink stream.Sink
	switch o.formatOf(path) {
	case "jsonl":
		sink, d.wants = jsonl.New(w, d.name), true
	case "summary":
		sink, d.shows = summary.New(w, options), onTerminal
	default:
		sink, d.shows, d.wants = text.New(w, d.name, text.Options{Summary: options, Width: width, ExitsOnly: o.filter.ExitsOnly(), Chosen: !o.filter.Empty()}), onTerminal, isTerminal(s.err)
	}
	d.sink = stream.Async(sink, stream.AsyncOptions{
		Name: d.name, Patience: outputPatience, Wait: waiting(ctx, d.name, say),
	})
	return d, nil
}

func (o *traceOptions) summaryOptions(onTerminal bool, width int) summary.Options {
	return summary.Options{
		Colour: human.ColourWanted(onTerminal, os.Getenv), Width: width, Unhit: o.unhit, UnhitAdvice: "--unhit lists them",
	}
}

const (
	// outputPatience is how often an output is looked at that takes nothing at the
	// end, and outputTime how long it is waited for after a signal: what comes before
	// and after fits into the rest of two seconds.
	outputPatience = 250 * time.Millisecond
	outputTime     = 1500 * time.Millisecond
	// outputQuiet is how often it is waited for before that is told.
	outputQuiet = 8
)

// waiting tells, once, that an output is waited for at the end. Who has ended the
// session by a signal, or does so now, does not wait long for one that takes
// nothing.
func waiting(ctx context.Context, name string, say func(string)) func() bool {
	var ended atomic.Int64 // ns since began; 0: by no signal yet
	began, asked := time.Now(), 0
	context.AfterFunc(ctx, func() { ended.Store(max(int64(time.Since(began)), 1)) })
	return func() bool {
		if at := time.Duration(ended.Load()); ctx.Err() != nil && at > 0 {
			return time.Since(began)-at < outputTime
		}
		if asked++; asked == outputQuiet {
			say(fmt.Sprintf("waiting until all is written to %s; Ctrl-C gives up", name))
		}
		return true
	}
}

// Endings of file names. Every other name gets text.
var (
	jsonlEndings = []string{".jsonl", ".ndjson", ".json"}
	// compressed files cannot be written yet. Without the ending's promise kept,
	// no program would read the file.
	compressedEndings = []string{".gz", ".zst", ".bz2", ".xz", ".lz4", ".zip"}
	// otherEndings are of formats that are not written, and whose programs would not
	// read text.
	otherEndings = []string{".csv", ".html", ".svg", ".pb", ".parquet", ".pftrace", ".perfetto-trace", ".folded", ".yaml", ".xml"}
)

// outputPaths are the outputs asked for: standard output by default.
func (o *traceOptions) outputPaths() []string {
	if len(o.outputs) == 0 {
		return []string{file.Stdout}
	}
	return o.outputs
}

// formatOf is the format of an output: --format, or what the ending says. Of
// several outputs, --format is for standard output.
func (o *traceOptions) formatOf(path string) string {
	if o.format != "" && (path == file.Stdout || len(o.outputs) < 2) {
		return o.format
	}
	if hasEnding(path, jsonlEndings) {
		return "jsonl"
	}
	return "text"
}

// linesOnStdout reports whether JSON lines go to standard output.
func (o *traceOptions) linesOnStdout() bool {
	return slices.ContainsFunc(o.outputPaths(), func(path string) bool {
		return (path == file.Stdout || path == "/dev/stdout") && o.formatOf(path) == "jsonl"
	})
}

// parseOutput refuses names that promise something other than the result.
func (o *traceOptions) parseOutput(*session.Config) error {
	for i, path := range o.outputs {
		if hasEnding(strings.ToLower(path), compressedEndings) {
			return usageError("--output %q: compressed files cannot be written yet: end the name in %s for JSON lines, or in .txt for text",
				path, strings.Join(jsonlEndings, ", "))
		}
		if hasEnding(strings.ToLower(path), otherEndings) && (o.format == "" || len(o.outputs) > 1) {
			return usageError("--output %q: that format cannot be written: end the name in %s for JSON lines, or in .txt for text",
				path, strings.Join(jsonlEndings, ", "))
		}
		if o.readyFile != "" && o.readyFile == path && path != file.Stdout && !strings.HasPrefix(path, "/dev/") {
			return usageError("--ready-file %q: that is the file of --output: name another", o.readyFile)
		}
		if slices.Contains(o.outputs[:i], path) {
			return usageError("--output %q is given twice: name another", path)
		}
	}
	if o.format != "" && len(o.outputs) > 1 && !slices.Contains(o.outputs, file.Stdout) {
		return usageError("--format %s: of several outputs it is for standard output (-o -) alone: the formats of files go by their endings", o.format)
	}
	return nil
}

func hasEnding(name string, endings []string) bool {
	return slices.ContainsFunc(endings, func(e string) bool { return strings.HasSuffix(name, e) })
}

// Start starts each. One that fails keeps the session from beginning.
func (out *outputs) Start(s *stream.Start) error {
	if !out.filter.Empty() {
		filtered := *s
		filtered.Where = out.filter.String()
		s = &filtered
	}
	for _, d := range out.each {
		if err := d.sink.Start(s); err != nil {
			return err
		}
	}
	return nil
}

// Record hands a record to each, if it is to be written.
func (out *outputs) Record(r stream.Record) error {
	if !out.filter.Empty() && !out.filter.Keep(r) {
		return nil
	}
	var err error
	for _, d := range out.each {
		if d.err == nil {
			err = out.note(d, d.sink.Record(r))
		}
	}
	return err
}

// Flush flushes each.
func (out *outputs) Flush() error {
	var err error
	for _, d := range out.each {
		if d.err == nil {
			err = out.note(d, d.sink.Flush())
		}
	}
	return err
}

// End ends each, and returns the errors of all.
func (out *outputs) End(sum *stream.Summary) error {
	var errs []error
	sum.LeftOut = out.filter.LeftOut()
	for _, d := range out.each {
		d.err = d.sink.End(sum)
		errs = append(errs, d.err)
	}
	return errors.Join(errs...)
}

// note notes how an output did. It returns an error once the last one has failed.
func (out *outputs) note(d *output, err error) error {
	if d.err = err; err == nil {
		return nil
	}
	if out.left--; out.left == 0 {
		return err
	}
	out.say(fmt.Sprintf("warning: %v; the session goes on without it", err))
	return nil
}

// finish closes the files, adds what was dropped to the summary and shows it to a
// person.
func (out *outputs) finish(sum *stream.Summary) error {
	var errs []error
	for _, d := range out.each {
		dropped := d.sink.Dropped()
		sum.Dropped.Merge(dropped)
		if n := dropped.Total(); n > 0 && d.err == nil {
			out.say(fmt.Sprintf("warning: %s not written to %s, which was too slow: the summary has them all", human.Plural(n, "record"), d.name))
		}
		errs = append(errs, d.close())
	}
	if out.after != nil {
		errs = append(errs, summary.Write(out.after, sum, out.afterOptions))
	}
	return errors.Join(errs...)
}

// close closes the file. One that was given up may still be in use: it is closed
// with the program.
func (d *output) close() error {
	var hangs *stream.UnwrittenError
	if d.file == nil || errors.As(d.err, &hangs) {
		return nil
	}
	return d.file.Close()
}

// abandon gives up the outputs of a session that did not begin.
func (out *outputs) abandon() error {
	var errs []error
	for _, d := range out.each {
		d.sink.Stop()
		if d.file != nil {
			errs = append(errs, d.file.Abandon())
		}
	}
	return errors.Join(errs...)
}
