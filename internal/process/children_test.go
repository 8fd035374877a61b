// SPDX-License-Identifier: Apache-2.0

package process

import (
	"bufio"
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
			cmd := exec.Command("sh", "-c", test.script)
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = cmd.Wait() }()
			defer in.Close()
			if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "so\n" {
				t.Fatalf("%q, %v", line, err)
			}
			p, err := Open(cmd.Process.Pid)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			if got := p.HasChildren(); got != test.runs {
				t.Errorf("it has children: %v, want %v", got, test.runs)
			}
			in.Close()
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
