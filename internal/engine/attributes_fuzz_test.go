// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/phasetrace/phasetrace/internal/event"
)

// FuzzMarkerAttributes passes whatever a marker may: what comes out is nothing,
// or one JSON object on one line; an object that was valid keeps its meaning.
func FuzzMarkerAttributes(f *testing.F) {
	for _, s := range []string{`{"epoch":1}`, `{"a":{"b":[1,2,null]}}`, "{\n\"x\": 1\r\n}", `[1]`, `{`, ``, `  `, "\xff\xfe", `{"a":1}trailing`, `{"a":1,"a":2}`} {
		f.Add([]byte(s), false, false)
	}
	f.Add([]byte(`{"cut":`), true, false)
	f.Add([]byte(nil), false, true)
	r := values{stats: &Stats{}}
	f.Fuzz(func(t *testing.T, text []byte, truncated, unreadable bool) {
		given := bytes.Clone(text)
		out := r.object(&event.Value{Str: text, Truncated: truncated, Unreadable: unreadable})
		if !bytes.Equal(text, given) {
			t.Fatal("the record was written to")
		}
		if len(out) == 0 {
			if truncated || unreadable || len(bytes.TrimSpace(text)) > 0 {
				t.Fatalf("attributes %q vanished", text)
			}
			return
		}
		var got map[string]any
		if err := json.Unmarshal(out, &got); err != nil || out[0] != '{' || bytes.ContainsAny(out, "\r\n") {
			t.Fatalf("%q became %q: %v", text, out, err)
		}
		var want map[string]any
		if !truncated && !unreadable && json.Unmarshal(text, &want) == nil && want != nil && got["raw"] == nil {
			a, _ := json.Marshal(got)
			b, _ := json.Marshal(want)
			if !bytes.Equal(a, b) {
				t.Fatalf("%q became %q", text, out)
			}
		}
	})
}
