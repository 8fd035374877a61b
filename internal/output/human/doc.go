// SPDX-License-Identifier: Apache-2.0

// Package human formats figures and foreign strings for people: durations,
// bytes, counts, escaping, widths and colour. It is pure and must
// not know phases or records.
//
// The Append functions append to a buffer and do not allocate when it has room.
package human
