// SPDX-License-Identifier: Apache-2.0

// Package output holds what the packages below it share: a line buffer over a
// writer, and errors that say what to do when writing fails. Each format has a
// package below it, a stream.Sink.
//
// Sinks know the records of internal/stream. They must not know BPF, processes or
// NVML, and they decide nothing about nesting, losses or repair.
package output
