// SPDX-License-Identifier: Apache-2.0

package gpu

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bubbleNow is the clock of a synctest bubble, whose time.Now is fake.
func bubbleNow() int64 { return time.Now().UnixNano() }

// problems collects what a sampler reports.
type problems struct {
	mu   sync.Mutex
	list []Problem
}

func (p *problems) add(x Problem) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list = append(p.list, x)
}

func (p *problems) count(device int, s Status, recovered bool) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, x := range p.list {
		if x.Device == device && x.Status == s && x.Recovered == recovered {
			n++
		}
	}
	return n
}

// startFake starts a sampler inside a bubble; the test must close it.
func startFake(f *Fake, o Options) (*Sampler, *problems) {
	p := &problems{}
	o.Now, o.Report = bubbleNow, p.add
	return Start(f, o), p
}

func closeSampler(t *testing.T, s *Sampler) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// pass lets fake time go by and everything due in it happen.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func last(t *testing.T, samples []Sample, device int) Sample {
	t.Helper()
	for i := len(samples) - 1; i >= 0; i-- {
		if samples[i].Device == device {
			return samples[i]
		}
	}
	t.Fatalf("no sample of device %d among %d", device, len(samples))
	return Sample{}
}
