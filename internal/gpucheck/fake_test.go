// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"testing"

	"github.com/phasetrace/phasetrace/internal/testenv"
)

// The check as `make gpu-check` runs it, with the real phasetrace and probes in
// the real program; only the two NVIDIA libraries are fake.
func TestFakeGPU(t *testing.T) {
	testenv.BPF(t)
	var out, messages bytes.Buffer
	err := run(t.Context(), []string{"-fake", "-hold", "60ms", "-keep", t.TempDir()}, &out, &messages)
	t.Logf("%s\n%s", messages.String(), out.String())
	if err != nil {
		t.Error(err)
	}
}
