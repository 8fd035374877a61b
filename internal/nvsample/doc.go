// SPDX-License-Identifier: Apache-2.0

// Package nvsample reads the memory of NVIDIA devices: a gpu.Source on go-nvml,
// which needs cgo.
//
// It must not know what the reads are for: package gpu decides when to read and
// what a read means.
package nvsample
