// SPDX-License-Identifier: Apache-2.0

// Package process knows the processes that phasetrace looks at: who they are, which
// files they have mapped, their namespaces, descendants and environment, and when
// they end. It also starts, holds and halts programs.
//
// It must not know BPF, markers or the loader: it says which file is mapped where,
// and nothing about the file's content beyond its being ELF.
//
// # Identity
//
// A process is a PID together with its start time ([ID]), because PIDs are reused.
// A [Process] holds its /proc directory open: once the process has ended, every
// method returns [ErrNoProcess], and none can answer for a newer process with the
// same PID.
//
// # Races
//
// A process may exit, exec, map and unmap at any time. Each method answers for one
// moment between its call and its return. Looking never stops a process.
//
// # Bounds
//
// No read is unbounded. Whatever exceeds a bound is left out, and the error says so
// ([ErrTruncated]); what was read before that is returned with it.
package process
