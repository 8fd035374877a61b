// SPDX-License-Identifier: Apache-2.0

// Package loader attaches the BPF programs to the sites of a plan and turns what
// they record into events.
//
// Planning (plan.go, operand.go) and decoding (decode.go) are pure and tested
// without privileges; loading (tracer.go), attaching (attach.go) and draining
// (read.go) are thin. The package knows sites, arguments and threads. It must not
// know phases, pairs of markers, the recorder, NVML or any output.
package loader
