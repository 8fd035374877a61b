// SPDX-License-Identifier: Apache-2.0

// Package engine turns the events of traced processes into the records of a
// session.
//
// Every event goes through three steps. To judge (judge.go) is to find out what
// it means; nothing changes. To repair (repair.go) is to bring the open scopes in
// line with that, as the policy says. To emit (emit.go) is to build the records
// that tell of it.
//
// The package does no I/O, so it is tested and fuzzed without privileges. It must
// not know the session, nor how records are written.
package engine
