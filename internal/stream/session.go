// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"github.com/phasetrace/phasetrace/internal/gpu"
)

// Start opens a session.
type Start struct {
	Time, Unix int64
	SessionID  string
	Host       string
	Version    string
	Kernel     string
	Processes  []*Process
	Pairs      []PairInfo
	Devices    []gpu.Device
	GPUStatus  string // why there are no devices, "" when there are
	// Where are the conditions that boundaries in this output meet, "" for none: others
	// are left out.
	Where string
}

// PairInfo says which pair is traced.
type PairInfo struct {
	Name     string // phase name, or where it comes from
	Provider string
	Enter    string
	Exits    []string
	Lane     string
	Origin   string
	Sites    int
}
