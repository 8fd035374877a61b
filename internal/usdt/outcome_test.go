// SPDX-License-Identifier: Apache-2.0

package usdt

import "testing"

func TestOutcome(t *testing.T) {
	for _, tt := range []struct {
		exits []string
		want  []string
	}{
		{[]string{"transaction__commit", "transaction__abort"}, []string{"committed", "aborted"}},
		{[]string{"query__done"}, []string{""}},
		{[]string{"requestEnd", "requestTimeout", "requestLost"}, []string{"ended", "timed out", "Lost"}},
		{[]string{"a", "a__late"}, []string{"a", "late"}},
		{[]string{"done", "failed"}, []string{"done", "failed"}},
	} {
		p := flagPair("p", "begin", tt.exits...)
		for i, exit := range tt.exits {
			if got := p.Outcome(exit); got != tt.want[i] {
				t.Errorf("%s of %q means %q, want %q", exit, tt.exits, got, tt.want[i])
			}
		}
	}
}
