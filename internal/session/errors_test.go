// SPDX-License-Identifier: Apache-2.0

package session

import (
	"fmt"
	"testing"

	"github.com/phasetrace/phasetrace/internal/usdt"
)

// Of eighty files the message names three, the executable first, and how many more
// there are; the same goes for pairs, and for files that could not be read.
func TestNoMarkersNamesFew(t *testing.T) {
	e := NoMarkersError{Files: []string{"/usr/bin/work"}, Skipped: []string{"read /a: no", "read /b: no"}}
	for i := range 79 {
		e.Files = append(e.Files, fmt.Sprintf("/lib/%02d.so", i), "/usr/bin/work")
	}
	for i := range 5 {
		p, err := usdt.ParsePair(fmt.Sprintf("x:a%d/b", i))
		if err != nil {
			t.Fatal(err)
		}
		e.Pairs = append(e.Pairs, p)
	}
	want := "no USDT markers to trace: none of the probes of x:a0/b, x:a1/b, x:a2/b and 2 more in " +
		"/usr/bin/work, /lib/00.so, /lib/01.so and 77 more; not all could be read: read /a: no, read /b: no"
	if got := e.Error(); got != want {
		t.Errorf("it says\n%s\nwant\n%s", got, want)
	}
	e = NoMarkersError{Files: []string{"/b", "/a", "/c"}}
	if got, want := e.Error(), "no USDT markers to trace: looked at /b, /a, /c"; got != want {
		t.Errorf("it says\n%s\nwant\n%s", got, want)
	}
}
