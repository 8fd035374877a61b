// SPDX-License-Identifier: Apache-2.0

package usdt

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Read-only segments are one range when no other page can be between them.
func TestConstantRanges(t *testing.T) {
	for name, c := range map[string]struct{ add, want []Range }{
		"one":                 {[]Range{{0, 0xb20}}, []Range{{0, 0xb20}}},
		"pages side by side":  {[]Range{{0, 0xb20}, {0x1000, 0x1b6d}, {0x2000, 0x22d8}}, []Range{{0, 0x22d8}}},
		"whole pages":         {[]Range{{0, 0x1000}, {0x1000, 0x2000}}, []Range{{0, 0x2000}}},
		"a page between":      {[]Range{{0, 0xb20}, {0x2000, 0x2001}}, []Range{{0, 0xb20}, {0x2000, 0x2001}}},
		"not in order":        {[]Range{{0x2000, 0x3000}, {0x1000, 0x2000}}, []Range{{0x2000, 0x3000}, {0x1000, 0x2000}}},
		"one within the last": {[]Range{{0, 0x3000}, {0x1000, 0x2000}}, []Range{{0, 0x3000}, {0x1000, 0x2000}}},
	} {
		t.Run(name, func(t *testing.T) {
			var f File
			for _, r := range c.add {
				f.addConstant(r)
			}
			if diff := cmp.Diff(c.want, f.Constant); diff != "" {
				t.Error(diff)
			}
		})
	}
}
