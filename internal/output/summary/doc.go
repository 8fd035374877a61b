// SPDX-License-Identifier: Apache-2.0

// Package summary writes the figures of a session for people: a table of the
// phases, the GPUs' peaks, then everything that was wrong, lost or missed.
//
// Strings from traced programs are escaped and cut. What is unknown is shown as
// "?" and never as 0.
package summary
