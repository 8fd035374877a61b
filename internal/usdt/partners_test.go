// SPDX-License-Identifier: Apache-2.0

package usdt

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestAlone: what probes in no pair might pair with.
func TestAlone(t *testing.T) {
	sites := names("p:a__start", "p:a__done",
		"p:msg_rx", "p:msg_tx_queue", "p:msg_rx", // a word and more
		"p:pass1b__start", "p:pass1a__start", "p:pass1__end", // one end for two
		"p:monitor_wait", "p:monitor_waited", "p:probing_path", "p:probed_path",
		"p:surface_added", "p:surface_removed", "q:surface_removed",
		"p:error", "p:other_error", "p:throw", "p:catch",
		"p:big x_new", "p:big x_dispose", // a name that --pair cannot take
		"p:request_cancelled", "p:request_start_now",
	)
	got := map[string][]string{}
	for _, a := range AloneOf(sites, Choose(sites, nil)) {
		got[fmt.Sprintf("%s:%s %d", a.Provider, a.Name, a.Sites)] = a.Might
	}
	want := map[string][]string{
		"p:msg_rx 2":        {"p:msg_rx/msg_tx_queue"},
		"p:msg_tx_queue 1":  {"p:msg_rx/msg_tx_queue"},
		"p:pass1b__start 1": {"p:pass1b__start/pass1__end"},
		"p:pass1a__start 1": {"p:pass1a__start/pass1__end"},
		"p:pass1__end 1":    {"p:pass1a__start/pass1__end", "p:pass1b__start/pass1__end"},
		"p:monitor_wait 1":  {"p:monitor_wait/monitor_waited"}, "p:monitor_waited 1": {"p:monitor_wait/monitor_waited"},
		"p:probing_path 1": {"p:probing_path/probed_path"}, "p:probed_path 1": {"p:probing_path/probed_path"},
		"p:surface_added 1": {"p:surface_added/surface_removed"}, "p:surface_removed 1": {"p:surface_added/surface_removed"},
		"q:surface_removed 1": nil,
		"p:error 1":           nil, "p:other_error 1": nil,
		"p:throw 1": {"p:throw/catch"}, "p:catch 1": {"p:throw/catch"},
		"p:big x_new 1": nil, "p:big x_dispose 1": nil,
		"p:request_cancelled 1": {"p:request_start_now/request_cancelled"}, "p:request_start_now 1": {"p:request_start_now/request_cancelled"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// BenchmarkAlone: names are other people's, and there can be many.
func BenchmarkAlone(b *testing.B) {
	var sites []Site
	for i := range maxGuessed {
		sites = append(sites, Site{Provider: "p", Name: fmt.Sprintf("start_a_b_c_d_%d_start", i)})
	}
	choices := Choose(sites, nil)
	for b.Loop() {
		AloneOf(sites, choices)
	}
}
