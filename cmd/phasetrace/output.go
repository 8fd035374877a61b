// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"io"
	"os"
	"strings"

	"github.com/phasetrace/phasetrace/internal/stream"

	"github.com/phasetrace/phasetrace/internal/output/file"
	"github.com/phasetrace/phasetrace/internal/output/human"
	"github.com/phasetrace/phasetrace/internal/output/jsonl"
	"github.com/phasetrace/phasetrace/internal/output/summary"
	"github.com/phasetrace/phasetrace/internal/output/text"
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

// openOutput opens what -o and --format ask for, before anything is attached.
func openOutput(o *traceOptions, s *streams) (*output, error) {
	out := &output{}
	var w io.Writer = s.out
	name := "standard output"
	if o.output != "-" {
		f, err := file.Create(o.output)
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

// outputFormat is --format, or what the file's ending says.
func (o *traceOptions) outputFormat() string {
	if o.format != "" {
		return o.format
	}
	for _, ending := range []string{".jsonl", ".ndjson", ".json"} {
		if strings.HasSuffix(o.output, ending) {
			return "jsonl"
		}
	}
	return "text"
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
