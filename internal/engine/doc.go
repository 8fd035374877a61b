// SPDX-License-Identifier: Apache-2.0

// Package engine turns the events of traced processes into the records of a
// session.
//
// Each event goes through three steps. Judging (judge.go) says what it means and
// changes nothing. Repairing (repair.go) brings the open scopes in line with that,
// as the policy says. Emitting (emit.go) builds the records that report it.
//
// The package knows events, scopes and records. It does no I/O, so it is tested and
// fuzzed without privileges. It must not know the session, nor how records are
// written.
package engine
