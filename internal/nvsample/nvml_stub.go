// SPDX-License-Identifier: Apache-2.0

//go:build !linux || !cgo || nonvml

package nvsample

import "github.com/phasetrace/phasetrace/internal/gpu"

// openNVML says why there is no GPU data: go-nvml needs cgo and a C library
// that loads libraries at run time.
func openNVML(string) (gpu.Source, error) {
	return nil, &gpu.Error{Op: "open the NVML library", Status: gpu.StatusNotBuilt}
}
