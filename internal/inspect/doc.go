// SPDX-License-Identifier: Apache-2.0

// Package inspect looks at files or at a process and shows which USDT probes
// they have, which pairs these form, and which of the pairs a trace would
// take.
//
// Collecting (Files, Process) reads files and /proc and needs no privilege
// beyond that; what is shown (WriteTable, Document) is a pure function of what
// was collected. The package knows internal/usdt and internal/process. It must
// not know BPF, NVML or what becomes of a pair.
//
// Files come from other people. Time and memory are bounded for each file as
// internal/usdt.Read bounds them, and names are made safe for a terminal.
package inspect
