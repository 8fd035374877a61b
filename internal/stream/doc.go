// SPDX-License-Identifier: Apache-2.0

// Package stream is the vocabulary of a session: its records, its start and its
// summary, and the sinks that take them.
//
// It must not know where records come from (BPF, NVML, a file) nor how they are
// written.
package stream
