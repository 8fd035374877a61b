// SPDX-License-Identifier: Apache-2.0

package process

import "testing"

func TestRSSBound(t *testing.T) {
	if got := RSSBound(3, 4, 4096); got != 3*32*4*4096 {
		t.Errorf("4 CPUs: %d", got)
	}
	if got := RSSBound(1, 64, 4096); got != 128*64*4096 {
		t.Errorf("64 CPUs: %d", got)
	}
}
