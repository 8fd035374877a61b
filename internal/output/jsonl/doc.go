// SPDX-License-Identifier: Apache-2.0

// Package jsonl writes a session as JSON lines, one object a line, and reads them
// back; see docs/json-lines.md and the schema in internal/output/schema. It knows
// records and JSON; it must not know where records come from.
//
// Lines are appended by hand: this is the hot path of a session that streams. In
// steady state a boundary costs no allocation, and its names are escaped once per
// path, not once per line. An unknown value is null with a status, never 0.
package jsonl
