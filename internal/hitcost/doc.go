// SPDX-License-Identifier: Apache-2.0

// Package hitcost measures what a hit of a traced marker costs on this machine: CPU
// time that the traced program spends.
//
// It attaches the programs of a session to markers of its own and compares runs with
// and without. A loop that does nothing else is the cheapest place for a hit: the
// kernel's code and data are in the caches, and every branch is predicted. A program
// that does something between two hits pays more, twice: the way into the kernel and
// back is cold, and so is the program's own code and data afterwards. So it measures
// both, and Cost.At goes between them by what a program does between two hits.
//
// It knows no session and no process but its own.
package hitcost
