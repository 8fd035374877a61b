// SPDX-License-Identifier: Apache-2.0

// Package clock reads the clocks that records carry and converts between them.
//
// All times are int64 nanoseconds. Monotonic and boot times are those of the
// initial time namespace, as BPF programs read them, whatever namespace this
// process runs in. The package knows clocks; it must not know what the times are
// of.
package clock
