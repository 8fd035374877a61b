// SPDX-License-Identifier: Apache-2.0

// Package process knows the processes that phasetrace looks at: who they are,
// which files they have mapped, their namespaces, descendants and environment,
// when they end, and how to start one that has not run yet.
//
// It must not know BPF, markers or the loader: it says which file is mapped
// where, never what is in the file beyond its being ELF.
//
// # Identity
//
// A process is a PID together with its start time ([ID]); a PID alone is
// reused. A [Process] holds its /proc directory open, so that after the
// process has ended every method says [ErrNoProcess] and none of them can ever
// answer for a newer process with the same PID.
//
// # Races
//
// A process may exit, exec, map and unmap at any time. Each method answers for
// one moment between its call and its return. Nothing here stops a process.
//
// # Bounds
//
// No read is unbounded. What goes over a bound is left out and the error says
// so ([ErrTruncated]); what was read before is returned along with it.
package process
