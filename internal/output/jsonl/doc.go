// SPDX-License-Identifier: Apache-2.0

// Package jsonl writes a session as JSON lines, one object a line; see
// docs/json-lines.md and the schema in internal/output/schema.
//
// Lines are appended by hand: this is the hot path of a session that streams.
// In steady state a boundary costs no allocation, and its names are escaped
// once a path, not once a line. What is unknown is null and has a status; it is
// never 0.
package jsonl
