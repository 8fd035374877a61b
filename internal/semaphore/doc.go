// SPDX-License-Identifier: Apache-2.0

// Package semaphore knows the semaphores of USDT probes in a process: where
// Linux counts and where the program reads, and how to bring the two together.
//
// Linux keeps a semaphore by the offset in its file. In a process it counts in
// the mapping of that offset which is private and writable and has the lowest
// address (find_ref_ctr_vma, kernel/events/uprobes.c), once for every
// breakpoint that it puts in, and takes the same number back when it takes the
// breakpoints out. That goes wrong where the offset is mapped more than once:
// while a program starts that lld or mold has linked, and when a library is
// loaded twice. A program then never sees its probes enabled; and where Linux
// takes back what it has counted elsewhere, it refuses to go below zero, leaves
// the breakpoint in and gives up its own record of it for ever.
//
// The package may know processes; it must not know what the probes are for.
package semaphore
