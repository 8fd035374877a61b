// SPDX-License-Identifier: Apache-2.0

package privileges

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"kernel.org/pub/linux/libs/security/libcap/cap"
)

// What is kept is never more than what was held, and always enough to go on.
// That threads really lose the rest is shown by cmd/phasetrace.
func TestKeep(t *testing.T) {
	root := []cap.Value{cap.BPF, cap.PERFMON, cap.SYS_PTRACE, cap.DAC_READ_SEARCH, cap.CHECKPOINT_RESTORE, cap.LEASE,
		cap.SYS_ADMIN, cap.KILL, cap.DAC_OVERRIDE, cap.SETUID, cap.NET_ADMIN}
	for _, tt := range []struct {
		name string
		held []cap.Value
		Needs
		want []cap.Value
	}{
		{"root", root, Needs{}, always},
		{"root, perf-event uprobes", root, Needs{Admin: true}, append(slices.Clone(always), cap.SYS_ADMIN)},
		{"root, with a command", root, Needs{Signals: true}, append(slices.Clone(always), cap.KILL)},
		{"setcap as documented", []cap.Value{cap.BPF, cap.PERFMON, cap.SYS_PTRACE, cap.LEASE}, Needs{Signals: true}, []cap.Value{cap.BPF, cap.PERFMON, cap.SYS_PTRACE, cap.LEASE}},
		{"CAP_SYS_ADMIN instead of CAP_BPF", []cap.Value{cap.PERFMON, cap.SYS_ADMIN, cap.SYS_RESOURCE}, Needs{}, []cap.Value{cap.PERFMON, cap.SYS_ADMIN}},
		{"CAP_SYS_ADMIN instead of CAP_PERFMON", []cap.Value{cap.BPF, cap.SYS_ADMIN}, Needs{}, []cap.Value{cap.BPF, cap.SYS_ADMIN}},
		{"nothing", nil, Needs{Admin: true, Signals: true}, []cap.Value{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := tt.keep(func(v cap.Value) bool { return slices.Contains(tt.held, v) })
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}
