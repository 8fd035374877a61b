// SPDX-License-Identifier: Apache-2.0

// Package text writes a session for people: a line per boundary, messages for
// what goes wrong, and the summary at the end.
//
//	    time  thread        phase
//	0.001234  train/4242    -> train  epochs=2
//	0.102534  train/4242    <- train  101 ms
//
// Lines that begin with "!!" tell that something is wrong. Strings from traced
// programs are escaped and cut to lengths that a person can read; JSON lines
// have them whole. What is unknown is "?", what is approximate has a "~".
package text
