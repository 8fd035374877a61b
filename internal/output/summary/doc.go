// SPDX-License-Identifier: Apache-2.0

// Package summary writes the figures of a session for people: a table of the
// phases, the GPUs' peaks, then everything that was wrong, lost or missed. It knows
// stream.Summary; it must not know how its figures were made.
//
// Strings from traced programs are escaped and cut. An unknown value is "?", never
// 0.
package summary
