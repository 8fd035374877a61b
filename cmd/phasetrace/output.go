// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/phasetrace/phasetrace/internal/output/file"
	"github.com/phasetrace/phasetrace/internal/output/human"
	"github.com/phasetrace/phasetrace/internal/output/jsonl"
	"github.com/phasetrace/phasetrace/internal/output/summary"
	"github.com/phasetrace/phasetrace/internal/output/text"
	"github.com/phasetrace/phasetrace/internal/session"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// output is where a session goes.
type output struct {
	sink stream.Sink
	file *file.File // nil for standard output
	// after gets the summary when the stream itself does not show it to a
	// person.
	after        io.Writer
	afterOptions summary.Options
}

// openOutput opens what -o and --format ask for, before anything is attached. Where
// that is a pipe it waits for the reader until ctx ends.
func openOutput(ctx context.Context, o *traceOptions, s *streams, say func(string)) (*output, error) {
	out := &output{}
	var w io.Writer = s.out
	name := "standard output"
	if o.output != "-" {
		f, err := file.Create(ctx, o.output, say)
		if err != nil {
			return nil, err
		}
		out.file, w, name = f, f, o.output
	}
	onTerminal := out.file == nil && isTerminal(w) || out.file != nil && out.file.IsTerminal()
	options := summary.Options{Colour: human.ColourWanted(onTerminal, os.Getenv)}
	switch o.outputFormat() {
	case "jsonl":
		out.sink = jsonl.New(w, name)
		out.after = s.err
	case "summary":
		out.sink = summary.New(w, options)
	default:
		out.sink = text.New(w, name, text.Options{Summary: options})
		if !onTerminal && isTerminal(s.err) {
			out.after = s.err // the stream goes elsewhere: show the person its end
		}
	}
	out.afterOptions = summary.Options{Colour: human.ColourWanted(isTerminal(s.err), os.Getenv)}
	return out, nil
}

// Endings of file names. Every other name gets text.
var (
	jsonlEndings = []string{".jsonl", ".ndjson", ".json"}
	// compressed files cannot be written yet. Without the ending's promise kept,
	// no program would read the file.
	compressedEndings = []string{".gz", ".zst", ".bz2", ".xz", ".lz4", ".zip"}
)

// outputFormat is --format, or what the file's ending says.
func (o *traceOptions) outputFormat() string {
	if o.format == "" && hasEnding(o.output, jsonlEndings) {
		return "jsonl"
	}
	return cmp.Or(o.format, "text")
}

// parseOutput refuses names of which the result would be another than they say.
func (o *traceOptions) parseOutput(*session.Config) error {
	if hasEnding(strings.ToLower(o.output), compressedEndings) {
		return usageError("--output %q: compressed files cannot be written yet: end the name in %s for JSON lines, or in .txt for text",
			o.output, strings.Join(jsonlEndings, ", "))
	}
	if o.readyFile != "" && o.readyFile == o.output && o.output != file.Stdout && !strings.HasPrefix(o.output, "/dev/") {
		return usageError("--ready-file %q: that is the file of --output: name another", o.readyFile)
	}
	return nil
}

func hasEnding(name string, endings []string) bool {
	return slices.ContainsFunc(endings, func(e string) bool { return strings.HasSuffix(name, e) })
}

// finish closes the file and shows the summary to a person.
func (out *output) finish(sum *stream.Summary) error {
	var errs []error
	if out.file != nil {
		errs = append(errs, out.file.Close())
	}
	if out.after != nil {
		errs = append(errs, summary.Write(out.after, sum, out.afterOptions))
	}
	return errors.Join(errs...)
}

// abandon gives up the output of a session that did not begin.
func (out *output) abandon() error {
	if out.file == nil {
		return nil
	}
	return out.file.Abandon()
}
