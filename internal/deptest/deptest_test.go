// SPDX-License-Identifier: Apache-2.0

// Package deptest holds the imports of the project against its architecture
// (docs/architecture.md).
package deptest

import (
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/phasetrace/phasetrace/"

// rule forbids a package, and what lies below it, to import others.
type rule struct {
	from   string
	not    []string
	reason string
}

var rules = []rule{
	{"bpf", []string{"internal/"}, "the programs know sites and threads only"},
	{"internal/usdt", []string{"bpf", "internal/", "github.com/cilium/ebpf"}, "notes, operands and pairs are pure: the same file gives the same result on every machine"},
	{"internal/process", []string{"bpf", "internal/usdt", "internal/loader", "internal/recorder", "github.com/cilium/ebpf"}, "it knows processes, not what is traced in them"},
	{"internal/loader", []string{"internal/recorder", "internal/nvsample", "internal/trace", "internal/output", "internal/process", "github.com/NVIDIA/go-nvml"}, "it delivers events and must not know what they mean"},
	{"internal/recorder", []string{"bpf", "internal/", "github.com/", "os", "time"}, "it judges nesting: no I/O, no clock of its own"},
	{"internal/nvsample", []string{"bpf", "internal/usdt", "internal/process", "internal/loader", "internal/recorder", "internal/trace", "internal/output", "github.com/cilium/ebpf"}, "it reads NVIDIA devices and must not know what for"},
	{"internal/gpu", []string{"bpf", "internal/usdt", "internal/process", "internal/loader", "internal/recorder", "internal/trace", "internal/output", "internal/nvsample", "github.com/"}, "it knows devices and times, so that it can be tested and used alone"},
	{"internal/clock", []string{"bpf", "internal/", "github.com/"}, "it reads clocks and must not know what the times are of"},
	{"internal/trace", []string{"bpf", "internal/output", "github.com/NVIDIA/go-nvml", "github.com/cilium/ebpf"}, "a session must not know how sinks write, nor touch BPF or NVML itself"},
	{"internal/output", []string{"bpf", "internal/loader", "internal/process", "internal/usdt", "github.com/cilium/ebpf", "github.com/NVIDIA/go-nvml"}, "sinks write what they are handed and decide nothing"},
	{"internal/privileges", []string{"bpf", "internal/", "github.com/"}, "it knows capabilities and nothing of tracing"},
	{"internal/doctor", []string{"internal/trace"}, "checks must not depend on a session"},
	{"internal/inspect", []string{"internal/trace"}, "what list shows must not depend on a session"},
	{"cmd/phasetrace", []string{"bpf", "internal/recorder", "github.com/cilium/ebpf", "github.com/NVIDIA/go-nvml"}, "the command line parses, wires and reports; the work is below it"},
}

func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}}{{range .Imports}} {{.}}{{end}}`, module+"...").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	checked := make(map[string]bool)
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		from := strings.TrimPrefix(fields[0], module)
		for _, r := range rules {
			if from != r.from && !strings.HasPrefix(from, r.from+"/") {
				continue
			}
			checked[r.from] = true
			for _, imported := range fields[1:] {
				if bad := r.forbids(imported); bad != "" {
					t.Errorf("%s imports %s: %s", from, imported, r.reason)
				}
			}
		}
	}
	for _, r := range rules {
		if !checked[r.from] {
			t.Errorf("no package matches the rule for %s", r.from)
		}
	}
}

// forbids returns the rule's pattern that an import matches. A package's own
// subpackages are its own affair.
func (r rule) forbids(imported string) string {
	path := strings.TrimPrefix(imported, module)
	if path == r.from || strings.HasPrefix(path, r.from+"/") {
		return ""
	}
	for _, p := range r.not {
		if path == p || strings.HasPrefix(path, strings.TrimSuffix(p, "/")+"/") {
			return p
		}
	}
	return ""
}
