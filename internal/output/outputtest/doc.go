// SPDX-License-Identifier: Apache-2.0

// Package outputtest makes the records that tests of sinks write: a small session
// with a record of every kind, with known and unknown values, and one in which
// everything that a traced program can influence is hostile.
//
// It is for tests only. It knows records; it must not know any format.
package outputtest
