// SPDX-License-Identifier: Apache-2.0

// Package schema holds the JSON Schema of the JSON lines and validates lines
// against it. It knows the contract, not the code that writes lines, so that each
// can be checked against the other.
//
// Validation is for tests and checks: the tracer itself does not import it.
package schema

import (
	"bytes"
	_ "embed"
	"fmt"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// JSON is the schema, draft 2020-12. It must not be written to.
//
//go:embed json-lines.schema.json
var JSON []byte

const location = "json-lines.schema.json"

// compiled holds the schema of lines of every kind and those of each kind by
// its event type.
type compiled struct {
	line  *jsonschema.Schema
	kinds map[string]*jsonschema.Schema
}

var load = sync.OnceValues(func() (*compiled, error) {
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(JSON))
	if err != nil {
		return nil, fmt.Errorf("read the schema: %w", err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	if err := c.AddResource(location, document); err != nil {
		return nil, fmt.Errorf("read the schema: %w", err)
	}
	line, err := c.Compile(location)
	if err != nil {
		return nil, fmt.Errorf("compile the schema: %w", err)
	}
	s := &compiled{line: line, kinds: make(map[string]*jsonschema.Schema)}
	for _, kind := range EventTypes() {
		if s.kinds[kind], err = c.Compile(location + "#/$defs/" + kind); err != nil {
			return nil, fmt.Errorf("compile the schema of %s: %w", kind, err)
		}
	}
	return s, nil
})

// EventTypes returns the event types in the order of the schema.
func EventTypes() []string {
	return []string{
		"session_start", "phase_enter", "phase_exit", "protocol_error", "orphan_exit",
		"records_lost", "records_dropped", "gpu_sample", "process_start", "process_title", "process_exit", "session_end",
	}
}

// Validate reports how a line, with or without its newline, breaks the schema.
// It may be called from any goroutine.
func Validate(line []byte) error {
	s, err := load()
	if err != nil {
		return err
	}
	if n := bytes.IndexByte(bytes.TrimSuffix(line, []byte("\n")), '\n'); n >= 0 {
		return fmt.Errorf("validate line: newline at byte %d: an object must be on one line", n)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(line))
	if err != nil {
		return fmt.Errorf("validate line: %w", err)
	}
	// The kind's own schema says best what is wrong with a line of that kind.
	if object, ok := value.(map[string]any); ok {
		if kind, ok := object["event_type"].(string); ok && s.kinds[kind] != nil {
			if err := s.kinds[kind].Validate(value); err != nil {
				return fmt.Errorf("validate %s: %w", kind, err)
			}
		}
	}
	if err := s.line.Validate(value); err != nil {
		return fmt.Errorf("validate line: %w", err)
	}
	return nil
}
