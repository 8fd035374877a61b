// SPDX-License-Identifier: Apache-2.0

package process

import (
	"os/exec"
	"testing"
)

// A process has children while they live, and once it has waited for one, which is
// known of a zombie, too.
func TestHasChildren(t *testing.T) {
	for _, test := range []struct {
		name, script string
		runs, zombie bool // what is known while it runs, and as a zombie
	}{
		{"none", "echo so; read x", false, false},
		{"one that lives", "exec 3<&0; cat <&3 >/dev/null & echo so; read x", true, false},
		{"one that was waited for", "(exit 0) & wait; echo so; read x", true, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			program := start(t, exec.Command("sh", "-c", test.script))
			program.expect("so")
			p := attach(t, program.pid)
			if got := p.HasChildren(); got != test.runs {
				t.Errorf("it has children: %v, want %v", got, test.runs)
			}
			program.in.Close()
			if err := p.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			// The shell may or may not wait for one that ends with it.
			if got := p.HasChildren(); got != test.zombie && test.runs == test.zombie {
				t.Errorf("as a zombie it has children: %v, want %v", got, test.zombie)
			}
		})
	}
}
