// SPDX-License-Identifier: Apache-2.0

package session

import (
	"flag"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/testenv"
)

var rebuilds = flag.Int("rebuilds", 10, "how often TestRebuiltUnderLoad overwrites its files")

// yard is where a program and a library are rebuilt in place while others run and
// load them.
type yard struct {
	t                  *testing.T
	program, library   string
	programs, builds   []string        // of each version
	loading            sync.RWMutex    // read while somebody has the library loaded
	current            fixture.Version // of the library
	stop               chan struct{}
	moved              chan struct{} // holds one when done has changed, or a worker has ended
	mu                 sync.Mutex
	done               [4]int         // runs and loads of each worker
	traced, programRun map[string]int // runs by version: of traced ones, and of all programs
}

const yardRounds = 50

// work calls a worker again and again until the yard closes. once reports whether
// it has run or loaded something.
func (y *yard) work(wg *sync.WaitGroup, worker int, once func() bool) {
	wg.Go(func() {
		defer y.tell()
		for {
			select {
			case <-y.stop:
				return
			default:
			}
			if once() {
				y.mu.Lock()
				y.done[worker]++
				y.mu.Unlock()
				y.tell()
			}
		}
	})
}

func (y *yard) tell() {
	select {
	case y.moved <- struct{}{}:
	default:
	}
}

// everybody waits until each worker has run or loaded something once more.
func (y *yard) everybody() {
	y.mu.Lock()
	before := y.done
	y.mu.Unlock()
	for late := time.After(time.Minute); ; {
		y.mu.Lock()
		now := y.done
		y.mu.Unlock()
		all := true
		for i := range now {
			all = all && now[i] > before[i]
		}
		if all || y.t.Failed() {
			return
		}
		select {
		case <-y.moved:
		case <-late:
			y.t.Errorf("somebody has stopped: %v, a minute ago %v", now, before)
			return
		}
	}
}

// ran books a run by what it printed.
func (y *yard) ran(printed string, traced bool) {
	name, ok := strings.CutPrefix(printed, "version ")
	if !ok {
		y.t.Errorf("a program printed %q", printed)
	}
	y.mu.Lock()
	defer y.mu.Unlock()
	if traced {
		y.traced[name]++
	}
	y.programRun[name]++
}

// run has a shell run the program. It may be written to just then.
func (y *yard) run(sh shell, traced bool) bool {
	sh.WriteLine(fmt.Sprintf("'%s' %d; echo status $?", y.program, yardRounds))
	switch line := sh.ReadLine(); {
	case line == "status 126":
		return false
	case strings.HasPrefix(line, "status"):
		y.t.Errorf("a program (traced: %v): %s: %s", traced, line, sh.Stderr())
	default:
		y.ran(line, traced)
		if got := sh.ReadLine(); got != "status 0" {
			y.t.Errorf("a program (traced: %v) printed %q: %s", traced, line, got)
		}
	}
	return true
}

// load has a process load the library.
func (y *yard) load(p *fixture.Proc, traced bool) bool {
	y.loading.RLock()
	defer y.loading.RUnlock()
	p.WriteLine(fmt.Sprintf("run %d", yardRounds))
	if got := p.ReadLine(); got != prints(y.current) {
		y.t.Errorf("the library: %q, want %q", got, prints(y.current))
	}
	if traced {
		y.mu.Lock()
		defer y.mu.Unlock()
		y.traced[y.current.Name]++
	}
	return true
}

// rebuild overwrites the files with the next version.
func (y *yard) rebuild(i int) {
	fixture.Overwrite(y.t, y.program, y.programs[i%len(y.programs)])
	y.loading.Lock()
	defer y.loading.Unlock()
	fixture.Overwrite(y.t, y.library, y.builds[i%len(y.builds)])
	y.current = fixture.Versions[i%len(y.builds)]
}

// A program and a library are rebuilt in place again and again, while traced and
// untraced processes run and load them: nobody dies, every result is right, and
// every version's phases are traced or said to be missing.
func TestRebuiltUnderLoad(t *testing.T) {
	testenv.BPF(t)
	y := &yard{t: t, programs: versions(t, false, fixture.Versions...), builds: versions(t, true, fixture.Versions...),
		stop: make(chan struct{}), moved: make(chan struct{}, 1), traced: make(map[string]int), programRun: make(map[string]int), current: fixture.Versions[0]}
	y.program, y.library = placed(t, y.programs[0]), placed(t, y.builds[0])
	kernel := watchKernel(t, y.program, y.library)
	// This process starts nobody while it traces: between fork and exec a child has
	// the tracer's descriptors open, and with them the probes.
	sh, untraced := startShell(t), startShell(t)
	reload, other := startReload(t, y.library, "around"), startReload(t, y.library)
	said := newMessages()
	tr := attach(t, []int{sh.Pid(), reload.Pid()}, Config{Follow: true, Message: said.add})
	var wg sync.WaitGroup
	y.work(&wg, 0, func() bool { return y.run(sh, true) })
	y.work(&wg, 1, func() bool { return y.load(reload, true) })
	y.work(&wg, 2, func() bool { return y.run(untraced, false) })
	y.work(&wg, 3, func() bool { return y.load(other, false) })
	for i := range *rebuilds {
		y.everybody()
		y.rebuild(i + 1)
		if t.Failed() {
			break
		}
	}
	y.everybody()
	close(y.stop)
	wg.Wait()
	for _, p := range []*fixture.Proc{sh.Proc, untraced.Proc, reload, other} {
		p.CloseStdin()
		p.WaitOK()
	}
	sum := tr.wait()
	y.account(tr, sum.Notes != nil)
	if sum.ViolationTotal != 0 {
		t.Errorf("%d violations, the first: %v", sum.ViolationTotal, sum.Violations[0].First.Err)
	}
	t.Logf("%d rebuilds; runs of the program by version %v; notes %v", *rebuilds, y.programRun, sum.Notes)
	kernel.checkLog()
}

// account holds what was traced against what was run.
func (y *yard) account(tr *tracing, told bool) {
	seen := tr.phases(y.t)
	var all, traced uint64
	for name, runs := range y.traced {
		want := uint64(runs * yardRounds)
		if seen[name] > want || seen[name] < want && !told {
			y.t.Errorf("%d phases of version %s in %d runs, nothing missing was told: %v", seen[name], name, runs, told)
		}
		all, traced = all+want, traced+seen[name]
	}
	y.t.Logf("traced %d of %d phases", traced, all)
	if traced == 0 {
		y.t.Error("nothing was traced")
	}
}
