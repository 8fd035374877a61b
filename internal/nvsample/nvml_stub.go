// SPDX-License-Identifier: Apache-2.0

//go:build !linux || !cgo || nonvml

package nvsample

// openNVML says why there is no GPU data: go-nvml needs cgo and a C library
// that loads libraries at run time.
func openNVML(string) (Source, error) {
	return nil, &Error{Op: "open the NVML library", Status: StatusNotBuilt}
}
