// SPDX-License-Identifier: Apache-2.0

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
	reason string // what it must not know, as the architecture page says it
}

var rules = []rule{
	{"bpf", []string{"internal/", "cmd/"}, "phases and the names of pairs: the programs know sites and threads only"},
	{"internal/clock", []string{"bpf", "internal/", "cmd/", "github.com/"}, "what the times are of"},
	{"internal/await", []string{"bpf", "internal/", "cmd/", "github.com/"}, "what the call does"},
	{"internal/apart", []string{"bpf", "internal/", "cmd/", "github.com/"}, "what the work is"},
	{"internal/rawjson", []string{"bpf", "internal/", "cmd/", "github.com/"}, "what the members mean"},
	{"internal/probe", []string{"bpf", "internal/", "cmd/", "github.com/"}, "ELF and BPF: it is pure"},
	{"internal/usdt", slices.Concat(kernel, vendor, upper, []string{"internal/process", "internal/engine"}), "BPF, NVML and `/proc`: the same file gives the same result on every machine"},
	{"internal/process", slices.Concat(kernel, vendor, upper, []string{"internal/usdt", "internal/probe", "internal/engine"}), "BPF and markers: it knows processes, not what is traced in them"},
	{"internal/semaphore", slices.Concat(kernel, vendor, upper, []string{"internal/usdt", "internal/engine", "internal/event"}), "what the probes are for"},
	{"internal/event", slices.Concat(kernel, vendor, hosts, upper, []string{"internal/recorder", "github.com/cilium/"}), "how events are delivered, and what phases they make"},
	{"internal/loader", slices.Concat(vendor, hosts, upper, []string{"internal/recorder", "internal/engine", "internal/stream", "internal/gpu"}), "pairs, processes, the recorder and NVML: it delivers events and does not know what they mean"},
	{"internal/recorder", []string{"bpf", "internal/", "cmd/", "github.com/"}, "anything else of the project; it has no I/O and no clock"},
	{"internal/gpu", slices.Concat(kernel, vendor, hosts, upper, []string{"internal/recorder", "internal/engine", "internal/stream", "github.com/"}), "cgo, phases and the session, so that it can be tested and used alone"},
	{"internal/nvsample", slices.Concat(kernel, hosts, upper, []string{"internal/recorder", "internal/engine", "internal/stream"}), "what the reads are for"},
	{"internal/stream", slices.Concat(kernel, vendor, hosts, upper, []string{"internal/engine", "internal/event", "internal/figures"}), "where records come from and how they are written"},
	{"internal/engine", slices.Concat(kernel, vendor, hosts, upper, []string{"internal/figures"}), "the session and formats; it has no I/O"},
	{"internal/figures", slices.Concat(kernel, vendor, hosts, upper, []string{"internal/engine", "internal/event"}), "where records come from: live or replayed, they must give the same figures"},
	{"internal/statement", []string{"bpf", "internal/", "cmd/"}, "where statements come from and what is counted of them"},
	{"internal/filter", slices.Concat(kernel, vendor, hosts, upper, []string{"internal/engine", "internal/event", "internal/figures"}), "how records are written, and how they are added up: figures are of all boundaries"},
	{"internal/session", slices.Concat([]string{"internal/output", "internal/filter", "cmd/"}, vendor[:2]), "how sinks write, the command line, and NVML itself"},
	{"internal/output", slices.Concat(kernel, vendor, hosts, []string{"internal/session", "internal/engine", "cmd/"}), "BPF, NVML, processes and the session: sinks write what they are handed and decide nothing"},
	{"internal/output/file", []string{"internal/stream", "internal/recorder"}, "formats and records"},
	{"internal/output/human", []string{"bpf", "internal/", "cmd/"}, "phases and records"},
	{"internal/output/schema", []string{"bpf", "internal/", "cmd/"}, "the code that writes lines"},
	{"internal/lease", slices.Concat(kernel, vendor, hosts, upper, []string{"internal/engine", "internal/stream"}), "what files are needed for"},
	{"internal/privileges", []string{"bpf", "internal/", "cmd/", "github.com/"}, "tracing"},
	{"internal/budget", []string{"bpf", "internal/", "cmd/", "github.com/"}, "probes, processes, clocks and the session: it is pure"},
	{"internal/hitcost", slices.Concat(vendor, upper, []string{"internal/usdt", "internal/engine", "internal/stream"}), "sessions, and any process but its own"},
	{"internal/doctor", []string{"internal/session", "internal/engine", "internal/stream"}, "the session"},
	{"internal/inspect", slices.Concat(kernel, vendor, []string{"internal/session", "internal/engine", "internal/stream"}), "BPF, NVML and the session"},
	{"internal/demo", []string{"bpf", "internal/", "cmd/", "github.com/"}, "tracing"},
	{"internal/nvsample/fakenvml", []string{"bpf", "internal/", "cmd/", "github.com/"}, "the rest of phasetrace"},
}

// except names the one package, without what lies below it, that a package may
// depend on although its rule forbids it.
var except = map[string]string{"internal/output/human": "internal/rawjson"}

// direct forbids direct imports only. Where rules has the same package, that one
// is what the page says.
var direct = []rule{
	{"internal/recorder", []string{"os", "time"}, "I/O and clocks"},
	{"internal/probe", []string{"os", "debug/elf"}, "files and ELF"},
	{"cmd/phasetrace", []string{"bpf", "internal/recorder", "internal/event", "github.com/cilium/ebpf", "github.com/NVIDIA/go-nvml"}, "the work itself: it parses, wires and reports"},
	{"internal/session", []string{"bpf", "github.com/cilium/ebpf"}, "BPF itself: the loader does"},
	{"internal/fixture", []string{"bpf", "internal/loader", "internal/engine", "internal/session", "internal/usdt"}, "how they are traced"},
	{"internal/pgtest", []string{"bpf", "internal/loader", "internal/engine", "internal/session", "internal/usdt"}, "tracing"},
	{"internal/gpucheck", []string{"bpf", "internal/loader", "internal/engine", "internal/session", "internal/gpu", "internal/stream"}, "how phasetrace works: it uses the command line and the JSON lines"},
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
				t.Errorf("%s depends on %s, but must not know %s", from, bad, r.reason)
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
	excepted := (rule{from: "internal/output/human", not: []string{"internal/"}}).broken([]string{module + "internal/rawjson", module + "internal/rawjson/x", module + "internal/stream"})
	if want := []string{"internal/rawjson/x", "internal/stream"}; !slices.Equal(excepted, want) {
		t.Errorf("with one exception, %q break a rule, want %q", excepted, want)
	}
}

// broken returns those of the dependencies that the rule forbids. A package and
// what lies below it are its own affair.
func (r rule) broken(dependencies []string) (bad []string) {
	for _, d := range dependencies {
		path, ours := strings.CutPrefix(d, module)
		if ours && (matches(r.from, path) || path == except[r.from]) {
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
