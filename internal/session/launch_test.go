// SPDX-License-Identifier: Apache-2.0

package session

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/testenv"
)

// Launchers that start the ranks of a job all at once: every rank is traced from
// its first instruction, though none of them was known before.
func TestRanksStartedTogether(t *testing.T) {
	testenv.BPF(t)
	if testenv.Without(t).Sleepable {
		t.Skip("needs sleepable programs, without which nobody can be made to wait")
	}
	const ranks = 8
	for name, launch := range map[string]string{
		"script": `for i in 0 1 2 3 4 5 6 7; do RANK=$i "$1" & done; wait`,
		// As mpirun and torchrun do: a process of its own for each, which starts it.
		"proxies": `for i in 0 1 2 3 4 5 6 7; do sh -c 'RANK=$0 "$1"; exit $?' $i "$1" & done; wait`,
	} {
		t.Run(name, func(t *testing.T) {
			for round := range 5 {
				rank := fixture.Build(t, "rank.c") // a file that nobody has looked at
				script := filepath.Join(t.TempDir(), "launch")
				if err := os.WriteFile(script, []byte("read go\n"+launch+"\necho done\n"), 0o600); err != nil {
					t.Fatal(err)
				}
				p := fixture.StartCmd(t, exec.Command("sh", script, rank))
				tr := attach(t, []int{p.Pid()}, Config{Follow: true})
				p.WriteLine("go")
				p.Expect("done")
				p.WaitOK()
				sum := tr.wait()
				// train, and ten steps in it.
				if want := uint64(ranks * 2 * 11); sum.Boundaries != want || sum.Orphans != 0 || sum.ViolationTotal != 0 || sum.Synthetic != 0 {
					t.Errorf("round %d: %d boundaries, %d synthetic, %d orphans, %d violations; want %d and none of the others",
						round, sum.Boundaries, sum.Synthetic, sum.Orphans, sum.ViolationTotal, want)
				}
				seen := make(map[int32]bool)
				for _, b := range tr.boundaries {
					seen[b.Rank] = true
				}
				if len(seen) != ranks {
					t.Errorf("round %d: ranks %v, want 0 to 7", round, seen)
				}
				for _, n := range sum.Notes {
					if strings.HasPrefix(n.What, "programs run by exec") {
						t.Errorf("round %d: %d %s", round, n.Count, n.What)
					}
				}
			}
		})
	}
}
