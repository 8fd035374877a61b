// SPDX-License-Identifier: Apache-2.0

// Package outputtest makes the records that tests of sinks write: one small
// session with a record of every kind, with known and unknown values, and one
// in which everything that a traced program can influence is hostile.
//
// It is for tests only.
package outputtest
