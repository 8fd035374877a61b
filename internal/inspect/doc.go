// SPDX-License-Identifier: Apache-2.0

// Package inspect looks at files or at a process and shows which USDT probes they
// have, which pairs these form, and which of the pairs a trace would take.
//
// Collecting (Files, OfProcess) reads files and /proc and needs no other privilege.
// What is shown (WriteTable, WriteJSON) is a pure function of what was collected.
// The package knows internal/usdt and internal/process. It must not know BPF, NVML
// or what becomes of a pair.
//
// Files come from other people. internal/usdt.Read bounds the time and memory that
// each one can cost, and names are escaped for terminals.
package inspect
