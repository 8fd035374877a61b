// SPDX-License-Identifier: Apache-2.0

package schema_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/phasetrace/phasetrace/internal/gpu"
	"github.com/phasetrace/phasetrace/internal/output/schema"
)

const head = `"timestamp_ns":1,"monotonic_ns":1,"session_id":"s"`

func TestValidate(t *testing.T) {
	lost := `"host":"h","rank":0,"pid":1,"thread_id":1,"thread_name":"t"`
	sample := func(phase string) string {
		return `{"event_type":"gpu_sample",` + head + `,"host":"h","device_id":0,"uuid":null,"used_bytes":1,"free_bytes":1,` +
			`"total_bytes":2,"reserved_bytes":null,"latency_ns":1,"status":"ok","phase":{` + phase + `}}`
	}
	x := `{"scope_id":"s:1","path":["x"],"thread_id":1,"rank":0,"lane":null}`
	two := `,"candidate_count":2,"candidates":[` + x + `,` + x + `]`
	for _, test := range []struct{ name, line, want string }{
		{"an answer", sample(`"certainty":"unique","path":["x"],"likely":null` + two), ""},
		{"a guess", sample(`"certainty":"ambiguous","path":null,"likely":` + x + two), ""},
		{"no guess where one belongs", sample(`"certainty":"ambiguous","path":null,"likely":null` + two), "likely"},
		{"a guess beside an answer", sample(`"certainty":"unique","path":["x"],"likely":` + x + two), "likely"},
		{"a guess told as an answer", sample(`"certainty":"ambiguous","path":["x"],"likely":` + x + two), "path"},
		{"a guess without a phase", sample(`"certainty":"none","path":null,"likely":` + x + `,"candidate_count":0,"candidates":[]`), "likely"},
		{"valid", `{"event_type":"records_lost",` + head + `,` + lost + `,"count":3}` + "\n", ""},
		{"nulls", `{"event_type":"records_lost",` + head + `,"host":"h","rank":null,"pid":null,"thread_id":null,"thread_name":null,"count":3}`, ""},
		{"a loss of nothing", `{"event_type":"records_lost",` + head + `,` + lost + `,"count":0}`, "count"},
		{"unknown field", `{"event_type":"records_lost",` + head + `,` + lost + `,"count":3,"extra":1}`, "extra"},
		{"missing field", `{"event_type":"records_lost",` + head + `,` + lost + `}`, "count"},
		{"missing head", `{"event_type":"records_lost","monotonic_ns":1,"session_id":"s",` + lost + `,"count":3}`, "timestamp_ns"},
		{"wrong type", `{"event_type":"records_lost",` + head + `,` + lost + `,"count":"3"}`, "count"},
		{"unknown event", `{"event_type":"party",` + head + `}`, "oneOf"},
		{"no event", `{}`, "oneOf"},
		{"no object", `[]`, "oneOf"},
		{"two lines", "{\n}", "one line"},
		{"no JSON", `{"event_type":`, "EOF"},
		{"two objects", `{}{}`, "after"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := schema.Validate([]byte(test.line))
			if test.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("error %v, want one about %q", err, test.want)
			}
		})
	}
}

// TestStrict walks the schema: every object of fixed fields refuses others.
func TestStrict(t *testing.T) {
	var document map[string]any
	if err := json.Unmarshal(schema.JSON, &document); err != nil {
		t.Fatal(err)
	}
	var walk func(where string, v any)
	walk = func(where string, v any) {
		switch v := v.(type) {
		case map[string]any:
			_, isSchema := v["type"]
			_, fixed := v["properties"]
			if isSchema && fixed && where != "/$defs/line" && where != "/$defs/figures" && where != "/$defs/cost" && v["unevaluatedProperties"] != false {
				t.Errorf("%s allows fields that it does not name", where)
			}
			for key, inner := range v {
				walk(where+"/"+key, inner)
			}
		case []any:
			for _, inner := range v {
				walk(where, inner)
			}
		}
	}
	walk("", document)
}

// TestStatuses holds the schema's statuses to nvsample's.
func TestStatuses(t *testing.T) {
	var document struct {
		Defs struct {
			Status struct{ Enum []string }
		} `json:"$defs"`
	}
	if err := json.Unmarshal(schema.JSON, &document); err != nil {
		t.Fatal(err)
	}
	if got, want := document.Defs.Status.Enum, gpu.Statuses(); !slices.Equal(got, want) {
		t.Errorf("statuses of the schema %q, of nvsample %q", got, want)
	}
}
