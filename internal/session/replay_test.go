// SPDX-License-Identifier: Apache-2.0

package session

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/phasetrace/phasetrace/internal/figures"
	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/gpu"
	"github.com/phasetrace/phasetrace/internal/output/jsonl"
	"github.com/phasetrace/phasetrace/internal/output/outputtest"
	"github.com/phasetrace/phasetrace/internal/stream"
	"github.com/phasetrace/phasetrace/internal/testenv"
)

// replayed traces a program into JSON lines while drive drives it, and returns
// what the lines say and how the session summed itself up.
func replayed(t *testing.T, p *fixture.Proc, c Config, drive func()) (*jsonl.Replayed, *stream.Summary) {
	t.Helper()
	testenv.BPF(t)
	var lines bytes.Buffer
	c.SessionID, c.Sink, c.Message = "replayed", jsonl.New(&lines, "lines"), func(string) {}
	c.Without = testenv.Without(t)
	c.Attached = func(Attached) error {
		go drive()
		return nil
	}
	sum, err := runAll(t.Context(), []int{p.Pid()}, c)
	if err != nil {
		t.Fatal(err)
	}
	r, err := jsonl.Replay(&lines, c.By)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Report.Ended || r.Report.Unknown+r.Report.UnknownFields != 0 {
		t.Errorf("read back: %+v", r.Report)
	}
	return r, sum
}

// The lines of a session, read back and added up again, give the summary of that
// session to the last digit: with losses, with lanes and keyed pairs, with what
// breaks nesting, and with readings of device memory.
func TestReplay(t *testing.T) {
	end := func(p *fixture.Proc, lines ...string) func() {
		return func() {
			for _, l := range lines {
				p.WriteLine(l)
			}
			p.ReadAll()
		}
	}
	for name, program := range map[string]func(t *testing.T) (p *fixture.Proc, c Config, drive func(), has func(*stream.Summary) bool){
		"losses": func(t *testing.T) (*fixture.Proc, Config, func(), func(*stream.Summary) bool) {
			p := fixture.Start(t, fixture.Build(t, "spin.c"), "4", "20000", "inline", "3")
			p.Expect("ready")
			drive := func() { p.WriteLine("go"); p.CloseStdin(); p.ReadAll() }
			return p, Config{RingBytes: os.Getpagesize()}, drive, func(s *stream.Summary) bool { return s.Lost > 0 && s.Synthetic > 0 }
		},
		"lanes and keys": func(t *testing.T) (*fixture.Proc, Config, func(), func(*stream.Summary) bool) {
			p, _, _ := startShop(t, 60)
			return p, Config{Pairs: mustPairs(t, shopPairs...)}, end(p, "go"), func(s *stream.Summary) bool { return len(s.Paths) >= 5 }
		},
		"groups, and phases inside one from before the attach": func(t *testing.T) (*fixture.Proc, Config, func(), func(*stream.Summary) bool) {
			p := fixture.Start(t, fixture.Build(t, "ranks.c"), "3", "1")
			p.Expect("ready")
			by, err := figures.By("process")
			if err != nil {
				t.Fatal(err)
			}
			joined := func(s stream.PathStats) bool { return s.Joined > 0 && len(s.Ranks) == 3 && len(s.Groups) == 3 }
			return p, Config{Follow: true, By: by}, end(p, "go"), func(s *stream.Summary) bool { return slices.ContainsFunc(s.Paths, joined) }
		},
		"overlapping phases": func(t *testing.T) (*fixture.Proc, Config, func(), func(*stream.Summary) bool) {
			p := fixture.Start(t, fixture.Build(t, "overlap.c"), "20")
			p.Expect("ready")
			pairs := mustPairs(t, "enc:encode__start/encode__done", "rpc:call__rx/call__tx;key=arg2+arg0/arg0+arg1;exit.attr.status=arg2", "sum:sum__start/sum__done")
			return p, Config{Pairs: pairs}, end(p, "go"), func(s *stream.Summary) bool { return s.Paths[0].Unknown == 20 }
		},
		"violations": func(t *testing.T) (*fixture.Proc, Config, func(), func(*stream.Summary) bool) {
			p := fixture.Start(t, fixture.Build(t, "misnest.c"), "50")
			p.Expect("ready")
			return p, Config{}, end(p, "go"), func(s *stream.Summary) bool { return s.ViolationTotal > 0 }
		},
		"device memory": func(t *testing.T) (*fixture.Proc, Config, func(), func(*stream.Summary) bool) {
			p := fixture.Start(t, fixture.Build(t, "pace.c"), "40", "1000", "3000")
			p.Expect("ready")
			return p, Config{GPU: clockDevice(t, gpu.Options{})}, end(p, "go"), func(s *stream.Summary) bool { return len(s.RunPeak) == 1 && s.GPUSamples > 0 }
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, c, drive, has := program(t)
			r, sum := replayed(t, p, c, drive)
			if !has(sum) {
				t.Errorf("the session shows nothing of what it is for: %s", fmt.Sprintf("%+v", sum)[:300])
			}
			if diff := outputtest.DiffFigures(sum, r.Recorded); diff != "" {
				t.Errorf("the session's end in its lines (-session +lines):\n%s", diff)
			}
			if diff := outputtest.DiffFigures(sum, r.Played); diff != "" {
				t.Errorf("added up again (-session +lines):\n%s", diff)
			}
		})
	}
}
