// SPDX-License-Identifier: Apache-2.0

package pgtest

import (
	"slices"
	"testing"
)

// A server runs for root and for ordinary users alike.
func TestServer(t *testing.T) {
	client := Start(t).Connect()
	if got := client.Do("select 6 * 7; select 'x';"); !slices.Equal(got, []string{"42", "x"}) {
		t.Errorf("answers %q, want 42 and x", got)
	}
	client.Close()
}
