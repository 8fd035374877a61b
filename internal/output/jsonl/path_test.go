// SPDX-License-Identifier: Apache-2.0

package jsonl

import (
	"strconv"
	"strings"
	"testing"

	"github.com/phasetrace/phasetrace/internal/recorder"
)

func TestPathCacheIsBounded(t *testing.T) {
	r := recorder.New(recorder.Limits{})
	var c pathCache
	filler := strings.Repeat("x", 400)
	var paths []*recorder.Path
	for i := range 12_000 {
		token, b, err := r.Enter(recorder.Key{SessionID: "s", ThreadID: 1}, "t", strconv.Itoa(i)+filler, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Exit(token, 1); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, b.Path)
	}
	for range 2 {
		for i, p := range paths {
			e := c.get(p)
			if want := `["` + strconv.Itoa(i) + filler + `"]`; string(e.array) != want {
				t.Fatalf("path %d is %.40s", i, e.array)
			}
			used := 0
			if c.used > pathBudget {
				t.Fatalf("%d bytes in the cache, budget %d", c.used, pathBudget)
			}
			if i%1000 != 0 {
				continue
			}
			for _, e := range c.entries {
				used += cap(e.context) + cap(e.array) + cap(e.name)
			}
			if used > pathBudget {
				t.Fatalf("%d bytes are kept, budget %d", used, pathBudget)
			}
		}
	}
}

// TestPathsOfTwoRecorders: ids are dense in each, so they are not enough to
// tell paths apart.
func TestPathsOfTwoRecorders(t *testing.T) {
	var c pathCache
	for _, name := range []string{"a", "b", "a"} {
		_, b, err := recorder.New(recorder.Limits{}).Enter(recorder.Key{SessionID: "s", ThreadID: 1}, "t", name, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(c.get(b.Path).name); got != `"`+name+`"` {
			t.Errorf("name %s, want %q", got, name)
		}
	}
}
