// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func names(ks []kernel) []string {
	var out []string
	for _, k := range ks {
		for _, m := range k.Modes {
			out = append(out, k.ID+" "+m.Name)
		}
	}
	return out
}

func TestChoose(t *testing.T) {
	all := []kernel{
		{ID: "a", Modes: []mode{native, as515}},
		{ID: "b", Modes: []mode{native}},
	}
	for _, tt := range []struct {
		only, modes string
		want        []string
		err         string
	}{
		{"", "", []string{"a native", "a as-5.15", "b native"}, ""},
		{"b", "", []string{"b native"}, ""},
		{"b, a", "native", []string{"a native", "b native"}, ""},
		{"", "as-5.15", []string{"a as-5.15"}, ""},
		{"b", "as-5.15", nil, "no kernel has these modes"},
		{"c", "", nil, `-only: unknown name "c"`},
		{"", "d", nil, `-modes: unknown name "d"`},
	} {
		got, err := choose(all, tt.only, tt.modes)
		if d := cmp.Diff(tt.want, names(got)); d != "" {
			t.Errorf("-only=%q -modes=%q: %s", tt.only, tt.modes, d)
		}
		if !strings.Contains(fmt.Sprint(err), tt.err) || (err == nil) != (tt.err == "") {
			t.Errorf("-only=%q -modes=%q: error %v, want %q", tt.only, tt.modes, err, tt.err)
		}
	}
	if len(all[0].Modes) != 2 {
		t.Error("choosing changed the matrix")
	}
}

// The matrix itself: names are unique, patterns compile, every mode is known.
func TestMatrix(t *testing.T) {
	var ids []string
	for _, k := range kernels {
		if slices.Contains(ids, k.ID) {
			t.Errorf("%s is there twice", k.ID)
		}
		ids = append(ids, k.ID)
		if _, err := regexp.Compile(k.Pattern); err != nil {
			t.Errorf("%s: %v", k.ID, err)
		}
		if !slices.ContainsFunc(k.Modes, func(m mode) bool { return m.Name == native.Name || m.refuses() && len(k.Modes) == 1 }) {
			t.Errorf("%s does not run as it is", k.ID)
		}
		if _, _, err := (machine{Arch: k.Arch}).command(); err != nil {
			t.Errorf("%s: %v", k.ID, err)
		}
	}
}

func TestSlowestFirst(t *testing.T) {
	other := "arm64"
	if runtime.GOARCH == other {
		other = "amd64"
	}
	ks := []kernel{
		{Arch: runtime.GOARCH, Modes: []mode{native}},
		{Arch: runtime.GOARCH, Modes: []mode{native, as515}},
		{Arch: other, Modes: []mode{native, as515}},
		{Arch: other, Modes: []mode{native}},
	}
	if d := cmp.Diff([]int{2, 1, 3, 0}, slowestFirst(ks)); d != "" {
		t.Error(d)
	}
}

func TestNewest(t *testing.T) {
	packages := []string{
		"linux-image-6.1.0-9-cloud-amd64", "linux-image-6.1.0-56-cloud-amd64", "linux-image-6.1.0-47-cloud-amd64",
		"linux-image-6.1.0-99-cloud-amd64-dbg", "linux-image-6.12.9+deb12-cloud-amd64", "linux-image-6.12.117+deb12-cloud-amd64",
		"linux-image-6.12-cloud-amd64", "linux-binary-7.2.9+deb13-cloud-amd64", "linux-binary-7.2.12+deb13-cloud-amd64",
		"linux-binary-7.3.4+deb13-cloud-amd64", "linux-binary-7.10.1+deb13-cloud-amd64", "linux-binary-7.10.1+deb13-rt-amd64",
		"linux-binary-7.10.1+deb13-amd64",
	}
	for pattern, want := range map[string]string{
		patternOf(t, "amd64-6.1"):    "linux-image-6.1.0-56-cloud-amd64",
		patternOf(t, "amd64-6.12"):   "linux-image-6.12.117+deb12-cloud-amd64",
		patternOf(t, "amd64-newest"): "linux-binary-7.10.1+deb13-cloud-amd64",
		patternOf(t, "amd64-rt"):     "linux-binary-7.10.1+deb13-rt-amd64",
		patternOf(t, "amd64-7.2"):    "linux-binary-7.2.12+deb13-cloud-amd64",
		"^none$":                     "",
	} {
		if got := newest(packages, regexp.MustCompile(pattern)); got != want {
			t.Errorf("%s: got %q, want %q", pattern, got, want)
		}
	}
}

func patternOf(t *testing.T, id string) string {
	t.Helper()
	i := slices.IndexFunc(kernels, func(k kernel) bool { return k.ID == id })
	if i < 0 {
		t.Fatalf("no kernel %s", id)
	}
	return kernels[i].Pattern
}

// A kernel in three packages, and one in a single package.
func TestCompanions(t *testing.T) {
	want := []string{"linux-base-7.3.4+deb13-cloud-amd64", "linux-modules-7.3.4+deb13-cloud-amd64"}
	if d := cmp.Diff(want, companions("linux-binary-7.3.4+deb13-cloud-amd64")); d != "" {
		t.Error(d)
	}
	if got := companions("linux-image-6.1.0-56-cloud-amd64"); got != nil {
		t.Errorf("%q", got)
	}
}

// On a kernel below the floor nothing runs but the refusal.
func TestRefusalPlan(t *testing.T) {
	want := "refusal:cmd/phasetrace /pt/src/cmd/phasetrace ^TestKernelTooOld$ PHASETRACE_FORCE_FEATURES=\n"
	if d := cmp.Diff(want, planText(planOf(testPackages, kernel{Modes: []mode{refusal}}))); d != "" {
		t.Error(d)
	}
}

func TestGuestTexts(t *testing.T) {
	steps := []step{{ID: "as-5.15:internal/x", Pkg: "internal/x", Env: as515.env()}}
	if got, want := planText(steps), "as-5.15:internal/x /pt/src/internal/x - PHASETRACE_FORCE_FEATURES=no-uprobe-multi,no-sleepable,no-cpu-rings\n"; got != want {
		t.Errorf("plan: got %q, want %q", got, want)
	}
	if got, want := quote(`a'b|c`), `'a'\''b|c'`; got != want {
		t.Errorf("quote: got %s, want %s", got, want)
	}
}
