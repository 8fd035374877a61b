// SPDX-License-Identifier: Apache-2.0

package session

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/process"
)

// That a program has started others is told once, however often it is looked for, of
// programs that were started for a trace, and not where children are followed.
func TestForksAreToldOnce(t *testing.T) {
	p := fixture.StartCmd(t, exec.Command("sh", "-c", "cat; read x"))
	p.WriteLine("so")
	p.Expect("so") // cat runs
	proc, err := process.Open(p.Pid())
	if err != nil {
		t.Fatal(err)
	}
	defer proc.Close()
	for _, test := range []struct {
		launched, follow bool
		want             int
	}{{true, false, 1}, {false, false, 0}, {true, true, 0}} {
		var said []string
		cfg := &Config{
			Message: func(m string) { said = append(said, m) },
			Advice: func(topic Topic) string {
				if topic != TopicChildren {
					t.Errorf("advice asked on topic %d", topic)
				}
				return "the remedy"
			},
		}
		ts := &targets{follow: test.follow, byPID: map[int]*target{proc.PID: {pid: proc.PID, proc: proc, launched: test.launched}}}
		ts.tellForks(&reporter{cfg: cfg})
		ts.tellForks(&reporter{cfg: cfg})
		if len(said) != test.want || test.want > 0 && !strings.HasSuffix(said[0], " has started others, which are not traced; the remedy") {
			t.Errorf("launched %v, follow %v: said %q", test.launched, test.follow, said)
		}
	}
}
