// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"strings"
	"testing"
)

func TestProbeEventAt(t *testing.T) {
	const list = `p:probe_a/one /usr/bin/app:0x0000000000001139 arg1=%di
r:probe_a/two__return /usr/bin/app:0x1140
p:other/same /usr/lib/lib:x.so:0x0000000000001200(0x4010)
nonsense
p:bad/place /usr/bin/app:zzz
`
	for _, c := range []struct {
		offset     uint64
		path, want string
	}{
		{0x1139, "/usr/bin/app", "probe_a/one"},
		{0x1140, "/usr/bin/app", "probe_a/two__return"},
		{0x1200, "/usr/lib/lib:x.so", "other/same"},
		{0x1200, "/usr/bin/app", ""},
		{0x1, "/usr/bin/app", ""},
	} {
		got := probeEventAt(strings.NewReader(list), c.offset, func(path string) bool { return path == c.path })
		if got != c.want {
			t.Errorf("%#x of %s: %q, want %q", c.offset, c.path, got, c.want)
		}
	}
}
