// SPDX-License-Identifier: Apache-2.0

// Package trace is one tracing session.
//
// Engine turns events into boundaries: it feeds the recorder, repairs what the
// recorder refuses, accounts for losses and keeps the statistics. It does no
// I/O, so it is tested and fuzzed without privileges. Session wires processes,
// probes, the engine, the samplers and the sinks together.
//
// The package must not know how sinks write; it hands them the records of
// record.go.
package trace
