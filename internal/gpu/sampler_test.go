// SPDX-License-Identifier: Apache-2.0

package gpu

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// readCost is what a memory read costs on real drivers.
const readCost = 12 * time.Microsecond

func TestBaseInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewFake(2)
		f.SetUsed(0, 100)
		f.SetUsed(1, 200)
		s, _ := startFake(f, Options{Interval: 100 * time.Millisecond})
		defer closeSampler(t, s)
		pass(time.Second + time.Millisecond)
		samples := s.Take(nil)
		if len(samples) != 22 {
			t.Errorf("%d samples of 2 devices in 1 s at 100 ms, want 22", len(samples))
		}
		if !slices.IsSortedFunc(samples, func(a, b Sample) int { return int(a.Mid - b.Mid) }) {
			t.Error("samples are not in order of time")
		}
		for _, x := range samples {
			if x.Status != StatusOK || x.Used != Bytes(uint64(100*(x.Device+1))) {
				t.Fatalf("sample %+v", x)
			}
		}
		if more := s.Take(nil); len(more) != 0 {
			t.Errorf("the second Take gave %d samples again", len(more))
		}
	})
}

func TestKickReadsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewFake(1)
		f.SetDelay(0, readCost)
		s, _ := startFake(f, Options{})
		defer closeSampler(t, s)
		pass(50 * time.Millisecond)
		for range 1000 {
			s.Take(nil)
			kicked := bubbleNow()
			s.Kick()
			pass(10 * time.Millisecond)
			samples := s.Take(nil)
			after := slices.IndexFunc(samples, func(x Sample) bool { return x.Start >= kicked })
			if after < 0 || samples[after].Start != kicked {
				t.Fatalf("no read began at the kick: %+v", samples)
			}
		}
	})
}

func TestBudgetHolds(t *testing.T) {
	for _, tt := range []struct {
		name    string
		devices int
		delay   time.Duration
		budget  float64
		kicks   int
		spacing time.Duration
	}{
		{"usual reads", 1, readCost, 0.01, 300_000, 10 * time.Microsecond},
		{"many devices", 8, readCost, 0.01, 300_000, 10 * time.Microsecond},
		{"small budget", 2, readCost, 0.001, 300_000, 10 * time.Microsecond},
		{"slow reads", 1, 3 * time.Millisecond, 0.01, 100_000, 5 * time.Millisecond},
		{"very slow reads", 4, 70 * time.Millisecond, 0.01, 100_000, 50 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := NewFake(tt.devices)
				for i := range tt.devices {
					f.SetDelay(i, tt.delay)
				}
				s, _ := startFake(f, Options{Budget: tt.budget, PIDs: []int{1}})
				for range tt.kicks {
					s.Kick()
					time.Sleep(tt.spacing)
				}
				stats := s.Stats()
				closeSampler(t, s)
				// The bucket may be full at first, the first slow reads are
				// paid later, and each device's last calls may end over
				// their share.
				allowed := tt.budget*float64(stats.Elapsed+int64(BurstWindow+DebtWindow)) + 2*float64(tt.devices)*float64(tt.delay)
				spent := float64(stats.Spent())
				t.Logf("%.4f %% of a core in calls, %d reads of device 0", 100*spent/float64(stats.Elapsed), stats.Devices[0].Memory.Calls)
				if spent > allowed {
					t.Errorf("spent %v in calls, allowed are %v", time.Duration(spent), time.Duration(allowed))
				}
				if stats.Devices[0].Memory.Calls < 2 {
					t.Error("hardly read at all")
				}
			})
		})
	}
}

func TestActiveInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewFake(1)
		f.SetDelay(0, readCost)
		s, _ := startFake(f, Options{})
		defer closeSampler(t, s)
		pass(500 * time.Millisecond)
		s.Take(nil)
		s.Kick()
		pass(200 * time.Millisecond)
		if n := len(s.Take(nil)); n < 60 {
			t.Errorf("%d reads in the 200 ms after a kick, want one every 2 to 3 ms", n)
		}
		pass(200 * time.Millisecond) // the active time ends
		s.Take(nil)
		pass(time.Second)
		if n := len(s.Take(nil)); n > 11 {
			t.Errorf("%d reads in a second at rest, want 10", n)
		}
	})
}

func TestDevicesTheTargetUses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewFake(3)
		f.SetProcesses(2, nil, &Error{Op: "list", Status: StatusNoPermission})
		s, _ := startFake(f, Options{PIDs: []int{42}})
		defer closeSampler(t, s)
		pass(2 * time.Second)
		seen := func() (ok [3]bool) {
			s.Take(nil)
			pass(2 * time.Second)
			for _, x := range s.Take(nil) {
				ok[x.Device] = ok[x.Device] || x.Status == StatusOK
			}
			return ok
		}
		if got := seen(); got != [3]bool{true, true, true} {
			t.Errorf("nothing is known of the target, read: %v", got)
		}
		f.SetProcesses(1, []Process{{PID: 42, Used: Bytes(7)}}, nil)
		pass(2 * time.Second)
		// Of device 2 nothing can be told, so it is read.
		if got := seen(); got != [3]bool{false, true, true} {
			t.Errorf("the target uses device 1, read: %v", got)
		}
		f.SetProcesses(0, []Process{{PID: 42}}, nil)
		pass(2 * time.Second)
		if got := seen(); got != [3]bool{true, true, true} {
			t.Errorf("the target uses devices 0 and 1, read: %v", got)
		}
	})
}

func TestUnusedDeviceSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewFake(2)
		f.SetProcesses(0, []Process{{PID: 42, Used: Bytes(7)}}, nil)
		s, p := startFake(f, Options{PIDs: []int{42}})
		defer closeSampler(t, s)
		pass(3 * time.Second)
		if x := last(t, s.Take(nil), 1); x.Status != StatusNotUsed || x.Used.Known {
			t.Errorf("last sample of the other device: %+v", x)
		}
		if len(p.list) != 0 {
			t.Errorf("reported %+v", p.list)
		}
	})
}

func TestProcessSamples(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewFake(1)
		f.SetProcesses(0, []Process{{PID: 1, Used: Bytes(11)}, {PID: 2}, {PID: 9, Used: Bytes(99)}}, nil)
		s, _ := startFake(f, Options{PIDs: []int{1, 2, 3}})
		defer closeSampler(t, s)
		pass(time.Millisecond)
		got := s.TakeProcesses(nil)
		want := []struct {
			pid    int
			used   Value
			status Status
		}{{1, Bytes(11), StatusOK}, {2, Value{}, StatusNotAvailable}, {3, Value{}, StatusNotListed}}
		if len(got) != len(want) {
			t.Fatalf("got %+v", got)
		}
		for i, w := range want {
			if got[i].PID != w.pid || got[i].Used != w.used || got[i].Status != w.status {
				t.Errorf("got %+v, want %+v", got[i], w)
			}
		}
		f.SetProcesses(0, nil, &Error{Op: "list", Status: StatusNoPermission})
		pass(time.Second)
		for _, x := range s.TakeProcesses(nil) {
			if x.Status != StatusNoPermission || x.Used.Known {
				t.Errorf("got %+v", x)
			}
		}
	})
}

func TestProcessListsStayRare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewFake(1)
		f.SetDelay(0, 4500*time.Microsecond)
		s, _ := startFake(f, Options{PIDs: []int{1}})
		for i := range 100 { // processes come and go all the time
			s.SetPIDs([]int{1, i})
			pass(time.Second)
		}
		stats := s.Stats()
		closeSampler(t, s)
		lists := stats.Devices[0].Processes
		if share := float64(lists.InCalls) / float64(stats.Elapsed); share > 0.0026 || lists.Calls < 50 {
			t.Errorf("%d lists took %.4f of a core, want at most a quarter of 0.01", lists.Calls, share)
		}
	})
}

// The first list is read whatever comes first, the timer or the processes.
func TestFirstListIsRead(t *testing.T) {
	for range 50 {
		synctest.Test(t, func(t *testing.T) {
			s, _ := startFake(NewFake(1), Options{})
			s.SetPIDs([]int{1})
			pass(2 * time.Second)
			calls := s.Stats().Devices[0].Processes.Calls
			closeSampler(t, s)
			if calls == 0 {
				t.Fatal("no process list was read in two seconds")
			}
		})
	}
}

func TestQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := startFake(NewFake(1), Options{Queue: 10})
		defer closeSampler(t, s)
		pass(10*time.Second + time.Millisecond)
		samples, stats := s.Take(nil), s.Stats()
		if len(samples) > 10 || uint64(len(samples))+stats.Dropped != stats.Devices[0].Memory.Calls {
			t.Errorf("%d samples kept, %d dropped, %d read", len(samples), stats.Dropped, stats.Devices[0].Memory.Calls)
		}
	})
}

func TestNoAllocations(t *testing.T) {
	f := NewFake(4)
	s := Start(f, Options{})
	defer closeSampler(t, s)
	dst := make([]Sample, 0, DefaultQueue)
	procs := make([]ProcessSample, 0, DefaultQueue)
	for _, tt := range []struct {
		name string
		fn   func()
	}{
		{"Take", func() { dst = s.Take(dst[:0]) }},
		{"TakeProcesses", func() { procs = s.TakeProcesses(procs[:0]) }},
	} {
		if n := testing.AllocsPerRun(100, tt.fn); n != 0 {
			t.Errorf("%s allocates %v times", tt.name, n)
		}
	}
}

// One read that is interrupted must not stop the reads after it, as long as the
// share holds in the long run.
func TestInterruptedReads(t *testing.T) {
	p := newPacer(0.0075, Options{}.withDefaults(), 0)
	now, spent, longest := int64(0), int64(0), int64(0)
	for i := range 100_000 {
		due := max(now, p.due(now, true, never))
		longest = max(longest, due-now)
		cost := int64(readCost)
		if i%500 == 499 {
			cost = int64(5 * time.Millisecond)
		}
		now = due + cost
		spent += cost
		p.done(due, now, StatusOK)
	}
	if share := float64(spent) / float64(now); share > 0.0075 || share < 0.005 {
		t.Errorf("%.5f of a core in calls", share)
	}
	if longest > int64(50*time.Millisecond) {
		t.Errorf("no reads for %v", time.Duration(longest))
	}
}

// Kick is measured with readers that do not run, whose own allocations would be
// counted with it.
func TestKickAllocatesNothing(t *testing.T) {
	s := newSampler(Options{})
	readers := []*reader{newReader(s, Device{}, 2), newReader(s, Device{ID: 1}, 2)}
	s.readers.Store(&readers)
	if n := testing.AllocsPerRun(1000, func() {
		s.Kick()
		for _, r := range readers {
			r.kicked.Store(false)
		}
	}); n != 0 {
		t.Errorf("Kick allocates %v times", n)
	}
}
