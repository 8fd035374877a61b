// SPDX-License-Identifier: Apache-2.0

package process

import (
	"os/exec"
	"testing"
)

// How long a look at a process takes that is repeated to find late libraries.
func BenchmarkModulesSince(b *testing.B) {
	child := run(b, exec.Command(fixture(b, "fixture")))
	p := attach(b, child.pid)
	known, err := p.Modules()
	if err != nil {
		b.Fatal(err)
	}
	b.Run("first look", func(b *testing.B) {
		for b.Loop() {
			if _, err := p.Modules(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("nothing new", func(b *testing.B) {
		for b.Loop() {
			if added, _, err := p.ModulesSince(known); err != nil || len(added) > 0 {
				b.Fatal(added, err)
			}
		}
	})
}
