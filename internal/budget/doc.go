// SPDX-License-Identifier: Apache-2.0

// Package budget decides which pairs are traced, so that tracing costs no program more
// than a share of its CPU time.
//
// A Controller is told once in a while what the hits of each pair have cost, and says
// which pairs are to be left out, brought back, or traced for a part of the time. It is
// pure, and must not know probes, processes, clocks and the session.
//
// The rules: pairs that cost most for the least time inside go first, and those whose
// phases are in no other go last. The last pair that costs anything is not left out but
// traced for a part of the time. What went comes back when there is room for it, the
// last one first, after a while that doubles each time; a pair that had to go for the
// third time stays away.
package budget
