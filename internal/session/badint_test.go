// SPDX-License-Identifier: Apache-2.0

package session

import (
	"testing"

	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/recorder"
)

// An integer whose memory cannot be read is null and named as such, never 0.
func TestUnreadableInteger(t *testing.T) {
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			p := fixture.Start(t, fixture.Build(t, "badint.c"), "10")
			p.Expect("ready")
			tr := attach(t, []int{p.Pid()}, Config{Without: m.without,
				Pairs: mustPairs(t, "badint:work__start/work__done;attr.good=arg0;attr.bad=arg1")})
			p.WriteLine("go")
			p.Expect("done")
			tr.wait()
			const want = `{"good":42,"bad":null,"_unreadable":["bad"]}`
			enters := 0
			for _, b := range tr.boundaries {
				if b.Action != recorder.Enter {
					continue
				}
				enters++
				if got := string(b.Attributes); got != want {
					t.Fatalf("attributes %s, want %s", got, want)
				}
			}
			if enters != 10 {
				t.Errorf("%d enters, want 10", enters)
			}
		})
	}
}
