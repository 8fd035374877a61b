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
	for name, launch := range map[string]string{
		"script": `for i in 0 1 2 3 4 5 6 7; do RANK=$i "$1" & done; wait`,
		// As mpirun and torchrun do: a process of its own for each, which starts it.
		"proxies": `for i in 0 1 2 3 4 5 6 7; do sh -c 'RANK=$0 "$1"; exit $?' $i "$1" & done; wait`,
	} {
		t.Run(name, func(t *testing.T) {
			prompt := 0
			for range 5 {
				if startedTogether(t, launch) {
					prompt++
				}
			}
			t.Logf("%d of 5 jobs were traced from their first instruction", prompt)
			if prompt == 0 {
				t.Error("no job was traced from its first instruction")
			}
		})
	}
}

// startedTogether traces a job of eight ranks, and reports whether none of them
// was late, as they can be on a busy machine. What was late is reported.
func startedTogether(t *testing.T, launch string) (prompt bool) {
	const ranks = 8
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
	if sum.ViolationTotal != 0 {
		t.Errorf("%d violations of a job that makes none", sum.ViolationTotal)
	}
	for _, n := range sum.Notes {
		if strings.HasPrefix(n.What, "programs run by exec") || strings.HasPrefix(n.What, "looks for markers") {
			t.Logf("late: %d %s", n.Count, n.What)
			return false
		}
	}
	// train, and ten steps in it.
	if want := uint64(ranks * 2 * 11); sum.Boundaries != want || sum.Orphans != 0 || sum.Synthetic != 0 {
		t.Errorf("%d boundaries, %d synthetic, %d orphans; want %d and none of the others", sum.Boundaries, sum.Synthetic, sum.Orphans, want)
	}
	seen := make(map[int32]bool)
	for _, b := range tr.boundaries {
		seen[b.Rank] = true
	}
	if len(seen) != ranks {
		t.Errorf("ranks %v, want 0 to 7", seen)
	}
	return true
}
