// SPDX-License-Identifier: Apache-2.0

// Package hitcost measures what a hit of a traced marker costs on this machine: CPU
// time that the traced program spends.
//
// It attaches the programs of a session to markers of its own and compares runs with
// and without. A loop that does nothing else is the cheapest place for a hit: the
// kernel's code and data are in the caches, and every branch is predicted. A program
// that does something between two hits pays more, and the more it does the more: the
// way into the kernel and back is cold, and so is the program's own code and data
// afterwards. So it measures with no work, some and much between hits, and Cost.At
// takes what a program does between two hits into account.
//
// It knows no session and no process but its own.
package hitcost
