// SPDX-License-Identifier: Apache-2.0

package jsonl

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/phasetrace/phasetrace/internal/output/outputtest"
	"github.com/phasetrace/phasetrace/internal/output/schema"
)

var update = flag.Bool("update", false, "rewrite the examples of the documentation")

const page = "../../../docs/json-lines.md"

// example is a fenced block under a comment that names the line it shows.
var example = regexp.MustCompile("(?s)<!-- example: ([a-z_]+) ([0-9]+) -->\n```json\n(.*?)```\n")

// TestDocumentedExamples: each example of the page is a line that the sink
// writes, broken for reading, and every event type has one.
func TestDocumentedExamples(t *testing.T) {
	lines := map[string][][]byte{}
	for _, line := range play(t, outputtest.Typical()) {
		event := decode(t, line)["event_type"].(string)
		lines[event] = append(lines[event], line)
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	fresh := example.ReplaceAllFunc(text, func(block []byte) []byte {
		m := example.FindSubmatch(block)
		event, n := string(m[1]), 0
		if _, err := fmt.Sscan(string(m[2]), &n); err != nil || n >= len(lines[event]) {
			t.Errorf("no line %s of %s", m[2], event)
			return block
		}
		seen[event] = true
		line := lines[event][n]
		var compact bytes.Buffer
		if err := json.Compact(&compact, m[3]); !*update && (err != nil || !bytes.Equal(compact.Bytes(), line)) {
			t.Errorf("the page's example of %s is not what is written (run with -update):\n%s", event, line)
		}
		return fmt.Appendf(nil, "<!-- example: %s %d -->\n```json\n%s```\n", event, n, wrap(line, 110))
	})
	for _, event := range schema.EventTypes() {
		if !seen[event] {
			t.Errorf("the page has no example of %s", event)
		}
	}
	if *update {
		if err := os.WriteFile(page, fresh, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDocumentedFields: the page names every field of the schema.
func TestDocumentedFields(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	prose := example.ReplaceAllString(string(text), "")
	var document map[string]any
	if err := json.Unmarshal(schema.JSON, &document); err != nil {
		t.Fatal(err)
	}
	var walk func(v any)
	missing := map[string]bool{}
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if fields, ok := v["properties"].(map[string]any); ok {
				for name := range fields {
					if !strings.Contains(prose, "`"+name+"`") && !missing[name] {
						missing[name] = true
						t.Errorf("the page says nothing of %s", name)
					}
				}
			}
			for _, inner := range v {
				walk(inner)
			}
		case []any:
			for _, inner := range v {
				walk(inner)
			}
		}
	}
	walk(document)
}

// wrap breaks a line after commas so that it is at most width columns wide
// where that can be.
func wrap(line []byte, width int) string {
	var out, row strings.Builder
	from, quoted := 0, false
	take := func(to int) {
		if row.Len() > 0 && row.Len()+to-from > width {
			out.WriteString(row.String() + "\n")
			row.Reset()
			row.WriteString(" ")
		}
		row.Write(line[from:to])
		from = to
	}
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == ',' && !quoted:
			take(i + 1)
		}
	}
	take(len(line))
	return out.String() + row.String() + "\n"
}
