// SPDX-License-Identifier: Apache-2.0

// Package engine turns the events of traced processes into the records of a
// session: it feeds the recorder, repairs what the recorder refuses, and
// accounts for losses.
//
// It does no I/O, so it is tested and fuzzed without privileges. It must not
// know the session, nor how records are written.
package engine
