// SPDX-License-Identifier: Apache-2.0

// Package deptest holds the dependencies of the project, indirect ones too,
// against its architecture (docs/architecture.md).
package deptest

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/phasetrace/phasetrace/"

// What rules forbid. A pattern that ends in a slash is everything below it.
var (
	kernel = []string{"bpf", "internal/loader", "github.com/cilium/ebpf"}
	vendor = []string{"internal/nvsample", "github.com/NVIDIA/go-nvml", "runtime/cgo"}
	hosts  = []string{"internal/process", "internal/usdt"}
	upper  = []string{"internal/session", "internal/output", "cmd/"}
)

// rule forbids a package, and what lies below it, to depend on others.
type rule struct {
	from   string
	not    []string
	reason string
}

var rules = []rule{
	{"bpf", []string{"internal/", "cmd/"}, "the programs know sites and threads only"},
	{"internal/await", []string{"bpf", "internal/", "cmd/", "github.com/"}, "it waits for calls and must not know what they do"},
	{"internal/clock", []string{"bpf", "internal/", "cmd/", "github.com/"}, "it reads clocks and must not know what the times are of"},
	{"internal/probe", []string{"bpf", "internal/", "cmd/", "github.com/"}, "it is the vocabulary between finding sites and attaching to them: pure"},
	{"internal/usdt", slices.Concat(kernel, vendor, upper, []string{"internal/process", "internal/engine"}), "notes, operands and pairs are pure: the same file gives the same result on every machine"},
	{"internal/process", slices.Concat(kernel, vendor, upper, []string{"internal/usdt", "internal/probe", "internal/engine"}), "it knows processes, not what is traced in them"},
	{"internal/semaphore", slices.Concat(kernel, vendor, upper, []string{"internal/usdt", "internal/engine", "internal/event"}), "it knows counters in a process and must not know what they enable"},
	{"internal/event", slices.Concat(kernel, vendor, hosts, upper, []string{"internal/recorder", "github.com/cilium/"}), "it is what the kernel tells, however it is delivered"},
	{"internal/loader", slices.Concat(vendor, hosts, upper, []string{"internal/recorder", "internal/engine", "internal/stream", "internal/gpu"}), "it delivers events and must not know what they mean"},
	{"internal/recorder", []string{"bpf", "internal/", "cmd/", "github.com/"}, "it judges nesting: no I/O, no clock of its own"},
	{"internal/gpu", slices.Concat(kernel, vendor, hosts, upper, []string{"internal/recorder", "internal/engine", "internal/stream", "github.com/"}), "it knows devices and times, so that it can be tested and used alone"},
	{"internal/nvsample", slices.Concat(kernel, hosts, upper, []string{"internal/recorder", "internal/engine", "internal/stream"}), "it reads NVIDIA devices and must not know what for"},
	{"internal/stream", slices.Concat(kernel, vendor, hosts, upper, []string{"internal/engine", "internal/event", "internal/figures"}), "records are the same wherever they come from"},
	{"internal/engine", slices.Concat(kernel, vendor, hosts, upper, []string{"internal/figures"}), "it turns events into records: no I/O, no session, no format"},
	{"internal/figures", slices.Concat(kernel, vendor, hosts, upper, []string{"internal/engine", "internal/event"}), "live and replayed records must give the same figures"},
	{"internal/session", slices.Concat([]string{"internal/output", "cmd/"}, vendor[:2]), "a session must not know how sinks write, nor touch NVML itself"},
	{"internal/output", slices.Concat(kernel, vendor, hosts, []string{"internal/session", "internal/engine", "cmd/"}), "sinks write what they are handed and decide nothing"},
	{"internal/privileges", []string{"bpf", "internal/", "cmd/", "github.com/"}, "it knows capabilities and nothing of tracing"},
	{"internal/doctor", []string{"internal/session", "internal/engine", "internal/stream"}, "checks must not depend on a session"},
	{"internal/inspect", slices.Concat(kernel, vendor, []string{"internal/session", "internal/engine", "internal/stream"}), "what list shows must not depend on a session"},
}

// direct holds what only direct imports are forbidden to name.
var direct = []rule{
	{"internal/recorder", []string{"os", "time"}, "it judges nesting: no I/O, no clock of its own"},
	{"internal/probe", []string{"os", "debug/elf"}, "it is pure vocabulary"},
	{"cmd/phasetrace", []string{"bpf", "internal/recorder", "internal/event", "github.com/cilium/ebpf", "github.com/NVIDIA/go-nvml"}, "the command line parses, wires and reports; the work is below it"},
	{"internal/session", []string{"bpf", "github.com/cilium/ebpf"}, "a session must not touch BPF itself"},
}

func TestDependencies(t *testing.T) {
	check(t, rules, "Deps")
	check(t, direct, "Imports")
}

// check holds a field of `go list` against rules.
func check(t *testing.T, rules []rule, field string) {
	t.Helper()
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}}{{range .`+field+`}} {{.}}{{end}}`, module+"...").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	known := make(map[string]bool)
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		from := strings.TrimPrefix(words[0], module)
		for _, r := range rules {
			if !matches(r.from, from) {
				continue
			}
			known[r.from] = true
			for _, bad := range r.broken(words[1:]) {
				t.Errorf("%s depends on %s: %s", from, bad, r.reason)
			}
		}
	}
	for _, r := range rules {
		if !known[r.from] {
			t.Errorf("no package matches the rule for %s", r.from)
		}
	}
}

// A rule that is broken is seen, through other packages too.
func TestBrokenRule(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", module+"internal/session").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	r := rule{from: "internal/session", not: []string{"github.com/cilium/ebpf", "internal/gpu"}}
	got := r.broken(strings.Fields(string(out)))
	for _, want := range []string{"github.com/cilium/ebpf/ringbuf", "internal/gpu"} {
		if !slices.Contains(got, want) {
			t.Errorf("a session that must not depend on %s: %q is not among what breaks the rule, %q", want, want, got)
		}
	}
	if got := (rule{from: "internal/gpu", not: []string{"internal/"}}).broken([]string{module + "internal/gpu", module + "internal/gpu/x", "unsafe"}); len(got) != 0 {
		t.Errorf("a package is forbidden its own: %q", got)
	}
}

// broken returns those of the dependencies that the rule forbids. A package and
// what lies below it are its own affair.
func (r rule) broken(dependencies []string) (bad []string) {
	for _, d := range dependencies {
		path, ours := strings.CutPrefix(d, module)
		if ours && matches(r.from, path) {
			continue
		}
		if slices.ContainsFunc(r.not, func(p string) bool { return ours == local(p) && matches(p, path) }) {
			bad = append(bad, path)
		}
	}
	return bad
}

// local reports whether a pattern is of this module.
func local(pattern string) bool {
	top, _, _ := strings.Cut(pattern, "/")
	return top == "bpf" || top == "internal" || top == "cmd"
}

// matches reports whether a path is a pattern's, or lies below it.
func matches(pattern, path string) bool {
	return path == pattern || strings.HasPrefix(path, strings.TrimSuffix(pattern, "/")+"/")
}
