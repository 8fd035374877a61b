// SPDX-License-Identifier: Apache-2.0

package usdt

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/phasetrace/phasetrace/internal/probe"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// corpus returns the lists of probes below testdata: of real programs with their
// operands (probes) and of sources by name only (names).
func corpus(t *testing.T) []string {
	t.Helper()
	var files []string
	for _, pattern := range []string{"testdata/probes/*.txt", "testdata/names/*.txt"} {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			t.Fatal("no lists of probes", err)
		}
		files = append(files, found...)
	}
	return files
}

// TestConventions: the naming conventions of real programs, one in a provider of its
// own, and what becomes of it.
func TestConventions(t *testing.T) {
	for probes, want := range map[string]string{
		// in the order of docs/pairs.md
		"q_start q_done":                      "on q_start/q_done = q",
		"q__start q__end":                     "on q__start/q__end = q",
		"q__begin q__done":                    "on q__begin/q__done = q",
		"q_begin q_complete":                  "on q_begin/q_complete = q",
		"q__start q__finish":                  "on q__start/q__finish = q",
		"q__start q__complete":                "on q__start/q__complete = q",
		"q_enter q_leave":                     "on q_enter/q_leave = q",
		"q_entry q_exit":                      "on q_entry/q_exit = q",
		"q__entry q__return":                  "on q__entry/q__return = q",
		"q_started q_finished":                "on q_started/q_finished = q",
		"q_began q_ended":                     "on q_began/q_ended = q",
		"q_call q_return":                     "on q_call/q_return = q_call",
		"q_pre q_post":                        "on q_pre/q_post = q",
		"q_before q_after":                    "on q_before/q_after = q",
		"q__startup q__shutdown":              "on q__startup/q__shutdown = q",
		"q-start q-done":                      "on q-start/q-done = q",
		"QStart QEnd":                         "on QStart/QEnd = Q",
		"HTTPGetStart HTTPGetDone":            "on HTTPGetStart/HTTPGetDone = HTTPGet",
		"q_START q_END":                       "on q_START/q_END = q",
		"q6start q6end":                       "on q6start/q6end = q6",
		"start_q end_q":                       "on start_q/end_q = q",
		"begin__q end__q":                     "on begin__q/end__q = q",
		"began_q finished_q":                  "on began_q/finished_q = q",
		"before_q after_q":                    "on before_q/after_q = q",
		"startQ endQ":                         "on startQ/endQ = Q",
		"a__before_q a__after_q":              "on a__before_q/a__after_q = a-q",
		"a_start_req a_done_req":              "on a_start_req/a_done_req = a_req",
		"start done":                          "on start/done = p",
		"begin end":                           "on begin/end = p",
		"q__start q__commit q__abort":         "on q__start/q__commit,q__abort = q",
		"q_start q_done q_failed q_cancelled": "on q_start/q_done,q_cancelled,q_failed = q",
		"q__begin q__end q__start q__done":    "on q__begin/q__end = q__begin, on q__start/q__done = q__start",
		"q_begin q_start q_end":               "on q_begin/q_end = q",
		"q_start q_stop":                      "on q_start/q_stop = q",
		"q_start q_stop r__begin r__end":      "off q_start/q_stop = q, on r__begin/r__end = r",
		"started stopped r__begin r__end":     "off started/stopped = p, on r__begin/r__end = r",
		"q_open q_close":                      "off q_open/q_close;lane=q = q",
		"q_acquire q_release":                 "off q_acquire/q_release;lane=q = q",
		"q_send q_recv":                       "off q_send/q_recv;lane=q = q",
		"q_send q_done":                       "off q_send/q_done;lane=q = q",
		"q_submit q_complete":                 "off q_submit/q_complete;lane=q = q",
		"q_request q_response":                "off q_request/q_response;lane=q_request = q_request",
		"request response":                    "off request/response;lane=request = request",
		"q q_done":                            "off q/q_done = q",
		"lock__wait__start lock__wait__done":  "off lock__wait__start/lock__wait__done = lock-wait",
		"FunctionStart FunctionEnd":           "off FunctionStart/FunctionEnd = Function",
		"q_start q__end":                      "", // not the same way to join words
		"restart end":                         "",
		"q_done":                              "",
		"append appstart":                     "on appstart/append = app", // the price of glued words
		"q_fail q_start":                      "",                         // something that fails need not have an end
		"send_q recv_q":                       "",                         // messages
		"q_start q_error":                     "",
	} {
		var got []string
		for _, p := range ByRule(names(strings.Fields("p:" + strings.ReplaceAll(probes, " ", " p:"))...)) {
			is := "off "
			if p.DefaultOn {
				is = "on "
			}
			name := p.Name
			p.Name = phaseName(p.Provider, p.Enter)
			got = append(got, is+strings.TrimPrefix(p.String(), "p:")+" = "+name)
		}
		if g := strings.Join(got, ", "); g != want {
			t.Errorf("%s: %s; want %s", probes, g, want)
		}
	}
}

// TestTellApart: pairs with one name are told apart, those that are on first.
func TestTellApart(t *testing.T) {
	sites := names("a:x__start", "a:x__done", "b:x__start", "b:x__done", "c:x_open", "c:x_close",
		"d:y__start", "d:y__done", "d:y_begin", "d:y_end", "e:start", "e:done", "f:e__start", "f:e__done")
	var got []string
	for _, p := range ByRule(sites) {
		got = append(got, p.Name)
	}
	want := []string{"a:x", "b:x", "c:x", "y__start", "y_begin", "e", "f:e"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// args gives a site these arguments.
func (s Site) with(t *testing.T, text string) Site {
	t.Helper()
	var err error
	if s.Args, err = ParseArgs(probe.AMD64, text, Symbols{}); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestRuleArguments: which arguments a pair that a rule makes shows, and which one it
// offers as a key.
func TestRuleArguments(t *testing.T) {
	site := func(name, args string) Site { return Site{Provider: "p", Name: name}.with(t, args) }
	for what, test := range map[string]struct {
		sites []Site
		want  string
	}{
		"integers": {[]Site{site("q_start", "-4@%eax 8@%rbx 1@%cl 4@$7"), site("q_done", "")},
			"on p:q_start/q_done;attr.arg0=arg0;attr.arg1=arg1:hex;attr.arg2=arg2;attr.arg3=arg3"},
		"not readable": {[]Site{site("q_start", "8f@%xmm0 -4@%eax"), site("q_done", "")},
			"on p:q_start/q_done;attr.arg1=arg1"},
		"at all sites": {[]Site{site("q_start", "-8@%rax -4@%ecx"), site("q_start", "8@%rax"), site("q_done", "")},
			"on p:q_start/q_done;attr.arg0=arg0:hex"},
		"many": {[]Site{site("q_start", "-4@$1 -4@$2 -4@$3 -4@$4 -4@$5 -4@$6 -4@$7"), site("q_done", "")},
			"on p:q_start/q_done;attr.arg0=arg0;attr.arg1=arg1;attr.arg2=arg2;attr.arg3=arg3;attr.arg4=arg4;attr.arg5=arg5"},
		"off": {[]Site{site("q_start", "-4@%eax"), site("q_stop", ""), site("r_start", ""), site("r_end", "")},
			"off p:q_start/q_stop, on p:r_start/r_end"},
		"a lone argument is the key": {[]Site{site("q_submit", "4@%eax"), site("q_complete", "-4@%ebx 8@%rax")},
			"on p:q_submit/q_complete;attr.arg0=arg0;key=arg0"},
		"several arguments: a key to be judged": {[]Site{site("q_submit", "8@%rax 8@%rbx"), site("q_complete", "8@%rbx 8@%rax")},
			"off p:q_submit/q_complete;key=arg0"},
		"the only one in common": {[]Site{site("q_send", "8@%rax 4@%ebx"), site("q_recv", "4@%ebx 4@%eax")},
			"off p:q_send/q_recv;key=arg1"},
		"widths": {[]Site{site("q_submit", "8@%rax"), site("q_complete", "4@%eax")},
			"off p:q_submit/q_complete;lane=q"},
		"a constant tells nothing": {[]Site{site("q_submit", "4@$1"), site("q_complete", "4@%eax")},
			"off p:q_submit/q_complete;lane=q"},
		"not at every site": {[]Site{site("q_submit", "8@%rax"), site("q_complete", "8@%rax"), site("q_complete", "")},
			"off p:q_submit/q_complete;lane=q"},
		"a byte is a kind": {[]Site{site("q_submit", "1@%al"), site("q_complete", "1@%al")},
			"off p:q_submit/q_complete;lane=q"},
	} {
		var got []string
		for _, p := range ByRule(test.sites) {
			got = append(got, map[bool]string{true: "on ", false: "off "}[p.DefaultOn]+p.String())
			if again, err := ParsePair(p.String()); err != nil || again.String() != p.String() {
				t.Errorf("%s: %s cannot be asked for: %v", what, p, err)
			}
		}
		if g := strings.Join(got, ", "); g != test.want {
			t.Errorf("%s: %s; want %s", what, g, test.want)
		}
	}
}

// judged are the pairs of the golden table that a person found wrong: their probes
// belong to different things. The doubtful ones of QEMU were looked up in its source.
// "overlaps" are right, but several can be under way on one thread, in an event loop or coroutines.
// "life" is how long something runs or exists.
var judged = map[string]string{
	// on
	"erlang:driver__start": "wrong", "qemu:guest_cpu_enter": "wrong", "qemu:lsi_execute_script_tc_call": "wrong",
	"qemu:usb_dwc2_reset_enter": "wrong", "qemu:vnc_msg_server_audio_begin": "wrong",
	"qemu:backup_do_cow_enter": "overlaps", "qemu:e1000x_link_negotiation_start": "overlaps",
	"qemu:mark_postcopy_blocktime_begin":          "overlaps",
	"qemu:migration_tls_incoming_handshake_start": "overlaps",
	"qemu:migration_tls_outgoing_handshake_start": "overlaps",
	"qemu:multifd_tls_outgoing_handshake_start":   "overlaps",
	"qemu:qcow2_writev_start_part":                "overlaps",
	"qemu:qcow2_writev_start_req":                 "overlaps",
	"qemu:qio_channel_tls_handshake_start":        "overlaps",
	"qemu:qio_channel_websock_handshake_start":    "overlaps",
	"qemu:vnc_client_disconnect_start":            "overlaps",
	// off
	"erlang:message__send": "wrong", "qemu:aspeed_i2c_bus_send": "wrong", "qemu:cuda_data_send": "wrong",
	"qemu:cuda_packet_send": "wrong", "qemu:i2c_send": "wrong", "qemu:mipsnet_send": "wrong",
	"qemu:multifd_send": "wrong", "qemu:via1_adb_send": "wrong", "qemu:migration_block_save": "wrong",
	"qemu:virtio_iommu_unmap": "wrong",
	// of programs in the catalogue, which does not trace them
	"hotspot:monitor__contended__enter": "wrong", "sssd:sdap_parse_entry": "wrong",
	"libvirt:rpc_keepalive_start": "life", "hotspot:thread__start": "life", "mir_server_compositor:started": "life",
}

// TestRulesGolden: what the naming rules make of every probe that is known to the
// project. A person has judged each pair of the golden table; see its head.
func TestRulesGolden(t *testing.T) {
	var b strings.Builder
	probes, total, verdicts := 0, map[string]int{}, map[string]int{}
	for _, file := range corpus(t) {
		sites := goldenProbes(t, file)
		count := map[string]int{}
		var lines strings.Builder
		for _, p := range ByRule(sites) {
			is := "off"
			switch {
			case unlistedReason(p.Provider) != "":
				is = "known"
			case p.DefaultOn:
				is = "on"
			}
			count[is]++
			verdict := judged[p.Provider+":"+p.Enter]
			verdicts[is+" "+verdict]++
			if verdict != "" {
				verdict = "   # " + verdict
			}
			p.Attrs = nil // TestRuleArguments is about them
			fmt.Fprintf(&lines, "  %-5s %s = %s%s\n", is, p, p.Name, verdict)
		}
		fmt.Fprintf(&b, "\n%s: %d probes; %d pairs on, %d off, %d of a known program\n%s", strings.TrimSuffix(filepath.Base(file), ".txt"),
			len(indexSites(sites)), count["on"], count["off"], count["known"], &lines)
		probes += len(indexSites(sites))
		for is, n := range count {
			total[is] += n
		}
	}
	head := fmt.Sprintf(`# What the naming rules make of every probe name that is known to the project. A person
# has judged the pairs: a verdict stands behind those that are not as good as the rest.
# "known": the catalogue decides what is traced of that program, and no pair of a rule.
#
# %d probes
# %d pairs on: %d wrong, %d overlap
# %d pairs off: %d wrong
# %d pairs of known programs: %d wrong, %d lifetimes
`, probes, total["on"], verdicts["on wrong"], verdicts["on overlaps"], total["off"], verdicts["off wrong"],
		total["known"], verdicts["known wrong"], verdicts["known life"])
	got := head + b.String()
	const golden = "testdata/rules.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("-update rewrites it\n%s", diff)
	}
}
