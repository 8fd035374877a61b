// SPDX-License-Identifier: Apache-2.0

package nvsample

import (
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/phasetrace/phasetrace/internal/gpu"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func closeSampler(t *testing.T, s *gpu.Sampler) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// readCost is what a memory read costs on real drivers.
const readCost = 12 * time.Microsecond

func distance(a, b int64) int64 { return max(a-b, b-a) }

// problems collects what a sampler reports.
type problems struct {
	mu   sync.Mutex
	list []gpu.Problem
}

func (p *problems) add(x gpu.Problem) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list = append(p.list, x)
}

func (p *problems) count(device int, s gpu.Status, recovered bool) int {
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
