// SPDX-License-Identifier: Apache-2.0

// Package output holds what the packages below it share: a line buffer over a
// writer, and errors that say what to do when writing fails. One package a
// format lives below it, each a stream.Sink.
//
// Sinks know the records of internal/stream. They must not know BPF, processes
// or NVML calls, and they make no decision about nesting, losses or repair.
package output
