// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/testenv"
)

// Sites on nops that this kernel rewrites unsafely, or where a probe never
// fires, are left alone, with a message; elsewhere they are traced.
func TestLongNops(t *testing.T) {
	testenv.BPF(t)
	rewriting := loader.NopRewriting()
	for _, c := range []struct {
		name   string
		flags  []string
		refuse bool
	}{
		{"five bytes", nil, rewriting == loader.RewritingFive},
		{"ten bytes", []string{"-DNOP10"}, rewriting != loader.RewritingTen},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := fixture.Start(t, fixture.Build(t, "longnop.c", c.flags...), "10")
			p.Expect("ready")
			if c.refuse && runtime.GOARCH == "amd64" {
				var told []string
				_, err := runAll(context.Background(), []int{p.Pid()}, Config{
					Sink: &collector{}, SessionID: "test",
					Message: func(m string) { told = append(told, m) },
				})
				if !errors.Is(err, ErrNoMarkers) || !strings.Contains(err.Error(), "2 sites left alone because this kernel cannot probe their nops safely") {
					t.Errorf("error %v, want ErrNoMarkers and the reason", err)
				}
			} else if tr := attach(t, []int{p.Pid()}, Config{}); tr != nil {
				p.WriteLine("go")
				p.Expect("done")
				if sum := tr.wait(); sum.Boundaries != 20 {
					t.Errorf("%d boundaries, want 20", sum.Boundaries)
				}
				return
			}
			p.WriteLine("go")
			p.Expect("done")
			p.WaitOK()
		})
	}
}
