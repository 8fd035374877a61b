// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// forceVariable is read by the loader: a comma-separated list of features that
// it must treat as missing. It exists for tests only.
const forceVariable = "PHASETRACE_FORCE_FEATURES"

// mode is one way in which the tests run on a kernel.
type mode struct {
	Name string   // as on the command line and in the report
	Off  []string // features forced away; empty: what the kernel has
	Run  string   // the only tests that run, as go test -run has it; empty: all
	Why  string   // what this mode shows
}

// env is the environment of a test run in this mode.
func (m mode) env() []string {
	if len(m.Off) == 0 && !m.refuses() {
		return nil
	}
	return []string{forceVariable + "=" + strings.Join(m.Off, ",")}
}

// refuses reports whether phasetrace is wanted to refuse the kernel.
func (m mode) refuses() bool { return m.Name == refusal.Name }

var (
	native  = mode{Name: "native", Why: "the best that the kernel offers"}
	noMulti = mode{Name: "no-uprobe-multi", Off: []string{"no-uprobe-multi"}, Why: "perf-event uprobes, as on kernels before 6.6"}
	refusal = mode{Name: "refusal", Run: "^TestKernelTooOld$", Why: "a kernel below the floor: phasetrace says in one line what it lacks, and does nothing"}
	as515   = mode{Name: "as-5.15", Off: []string{"no-uprobe-multi", "no-sleepable", "no-cpu-rings"}, Why: "perf-event uprobes, no faulting reads and one ring buffer: the kernel floor"}
)

// kernel is one row of the matrix.
type kernel struct {
	ID      string   // stable name for -only
	Arch    string   // GOARCH of the guest
	Suites  []string // of Debian; none: the machine's own release
	Pattern string   // matches the Debian packages of this kernel's image; the newest wins
	Modes   []mode   // a mode that forces away only what the kernel lacks anyway is left out
}

// refused reports whether phasetrace is wanted to refuse the kernel.
func (k kernel) refused() bool { return slices.ContainsFunc(k.Modes, mode.refuses) }

// backports has the newest released kernels, in packages that are split in three.
var backports = []string{"trixie-backports"}

// kernels is the matrix. 6.1 has sleepable uprobes and no uprobe_multi; 6.12
// has both. 7.3 and later make calls of ten-byte nops, and so does 7.2 since a
// stable update; before, it did of five-byte ones. The newest have no version in their names: one that Debian brings tomorrow fails
// here, not at a user's. 5.15, the floor, is in no Debian release: mode as-5.15
// stands for it, on the oldest kernel there is. 5.10 is below it.
var kernels = []kernel{
	{ID: "amd64-newest", Arch: "amd64", Suites: backports, Pattern: `^linux-binary-[0-9.]+\+deb[0-9]+-cloud-amd64$`, Modes: []mode{native, noMulti}},
	{ID: "amd64-rt", Arch: "amd64", Suites: backports, Pattern: `^linux-binary-[0-9.]+\+deb[0-9]+-rt-amd64$`, Modes: []mode{native}},
	{ID: "amd64-7.2", Arch: "amd64", Suites: backports, Pattern: `^linux-binary-7\.2\.[0-9]+\+deb[0-9]+-cloud-amd64$`, Modes: []mode{native}},
	{ID: "amd64-5.10", Arch: "amd64", Suites: []string{"bullseye"}, Pattern: `^linux-image-5\.10\.[0-9].*-cloud-amd64$`, Modes: []mode{refusal}},
	{ID: "amd64-6.1", Arch: "amd64", Pattern: `^linux-image-6\.1\.[0-9].*-cloud-amd64$`, Modes: []mode{native, as515}},
	{ID: "amd64-6.12", Arch: "amd64", Pattern: `^linux-image-6\.12\.[0-9].*-cloud-amd64$`, Modes: []mode{native, noMulti}},
	{ID: "arm64-newest", Arch: "arm64", Suites: backports, Pattern: `^linux-binary-[0-9.]+\+deb[0-9]+-cloud-arm64$`, Modes: []mode{native}},
	{ID: "arm64-6.1", Arch: "arm64", Pattern: `^linux-image-6\.1\.[0-9].*-cloud-arm64$`, Modes: []mode{native}},
	{ID: "arm64-6.12", Arch: "arm64", Pattern: `^linux-image-6\.12\.[0-9].*-cloud-arm64$`, Modes: []mode{native}},
}

// testPackage is a package whose tests run in the guests.
type testPackage struct {
	Dir   string // relative to the repository's root
	Run   string // which of its tests, as go test -run has it; "" for all
	Modes bool   // it loads BPF programs: run it in every mode, not in native alone
}

// commandPackage tests the command itself.
const commandPackage = "cmd/phasetrace"

// testPackages are all of them: those that load BPF programs or look at other
// processes.
var testPackages = []testPackage{
	{Dir: "internal/process"},
	{Dir: "internal/loader", Modes: true},
	{Dir: "internal/session", Modes: true},
	{Dir: commandPackage, Modes: true},
}

// requiredConfig are the build options without which a kernel is of no use
// here. All of them are built in, because the guest loads no modules.
var requiredConfig = []string{
	"CONFIG_BPF_SYSCALL", "CONFIG_BPF_EVENTS", "CONFIG_DEBUG_INFO_BTF", "CONFIG_UPROBES", "CONFIG_UPROBE_EVENTS",
	"CONFIG_BLK_DEV_INITRD", "CONFIG_DEVTMPFS", "CONFIG_TMPFS", "CONFIG_USER_NS", "CONFIG_PID_NS",
}

// skipRule allows some tests to be skipped in the guests.
type skipRule struct {
	Package string         // import path ending, "" for any
	Test    *regexp.Regexp // full name, subtests included
	Reason  *regexp.Regexp // what the test said
	Why     string         // why the guest cannot have what it needs
}

// allowedSkips is the whole list: any other skip fails the run, because a
// matrix of skipped tests shows nothing.
var allowedSkips = []skipRule{
	{
		Test:   regexp.MustCompile(`.`),
		Reason: regexp.MustCompile(`(?i)postgres`),
		Why:    "the guests hold no PostgreSQL",
	},
	{
		Test:   regexp.MustCompile(`^Test(OpenJDK|CPython)$`),
		Reason: regexp.MustCompile(`is not installed`),
		Why:    "the guests hold no interpreters",
	},
	{
		Test:   regexp.MustCompile(`^TestTracedTarget/`),
		Reason: regexp.MustCompile(`needs (strace|gdb): install it`),
		Why:    "the guests hold no debuggers",
	},
	{
		Test:   regexp.MustCompile(`.`),
		Reason: regexp.MustCompile(`needs root and /dev/fuse`),
		Why:    "FUSE is a module in these kernels, and the guests load none",
	},
	{
		Test:   regexp.MustCompile(`^TestTraceInTimeNamespace$`),
		Reason: regexp.MustCompile(`this unshare makes no time namespaces`),
		Why:    "busybox makes no time namespaces",
	},
	{
		Test:   regexp.MustCompile(`^TestScript/demo$`),
		Reason: regexp.MustCompile(`.`), // testscript shows the script, not why it skipped
		Why:    "the tests are built without cgo",
	},
	{
		Test:   regexp.MustCompile(`.`),
		Reason: regexp.MustCompile(`short: .* kernel has no part`),
		Why:    "emulated processors are slow, and the test shows nothing of the kernel",
	},
}

// allowSkip says whether a skip is expected.
func allowSkip(pkg, test, reason string) bool {
	return slices.ContainsFunc(allowedSkips, func(r skipRule) bool {
		return strings.HasSuffix(pkg, r.Package) && r.Test.MatchString(test) && r.Reason.MatchString(reason)
	})
}

// choose returns the kernels named in only, with the modes named in modes;
// empty strings choose all. A kernel that has none of the modes is left out.
func choose(all []kernel, only, modes string) ([]kernel, error) {
	wanted, err := pick(only, func(id string) bool {
		return slices.ContainsFunc(all, func(k kernel) bool { return k.ID == id })
	})
	if err != nil {
		return nil, fmt.Errorf("-only: %w", err)
	}
	wantedModes, err := pick(modes, func(name string) bool {
		return slices.ContainsFunc(all, func(k kernel) bool {
			return slices.ContainsFunc(k.Modes, func(m mode) bool { return m.Name == name })
		})
	})
	if err != nil {
		return nil, fmt.Errorf("-modes: %w", err)
	}
	var out []kernel
	for _, k := range all {
		if wanted != nil && !slices.Contains(wanted, k.ID) {
			continue
		}
		var kept []mode
		for _, m := range k.Modes {
			if wantedModes == nil || slices.Contains(wantedModes, m.Name) {
				kept = append(kept, m)
			}
		}
		if k.Modes = kept; len(kept) > 0 {
			out = append(out, k)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no kernel has these modes: see -list")
	}
	return out, nil
}

// pick splits a comma-separated list whose elements must all be known.
func pick(s string, known func(string) bool) ([]string, error) {
	if s == "" {
		return nil, nil
	}
	var out []string
	for e := range strings.SplitSeq(s, ",") {
		if e = strings.TrimSpace(e); !known(e) {
			return nil, fmt.Errorf("unknown name %q: see -list", e)
		}
		out = append(out, e)
	}
	return out, nil
}

// archesOf returns the architectures of the kernels, each once, in order.
func archesOf(ks []kernel) []string {
	var out []string
	for _, k := range ks {
		if !slices.Contains(out, k.Arch) {
			out = append(out, k.Arch)
		}
	}
	return out
}
