// SPDX-License-Identifier: Apache-2.0

// Package text writes a session for people: a line per boundary, messages for what
// goes wrong, and the summary at the end. It knows records and terminals; it must
// not know where records come from.
//
//	    time  thread        phase
//	0.001234  train/4242    -> train  epochs=2
//	0.102534  train/4242    <- train  101 ms
//
// Lines that begin with "!!" report that something is wrong. Strings from traced
// programs are escaped, and cut to a readable length; JSON lines have them whole.
// Unknown values are "?", approximate ones have a "~".
package text
