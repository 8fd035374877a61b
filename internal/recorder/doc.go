// SPDX-License-Identifier: Apache-2.0

// Package recorder keeps strictly nested phases: it judges every enter and
// exit, numbers what it accepts, and says precisely why it refuses the rest.
//
// It knows scopes, stacks, paths, tokens and violations. It must not know BPF,
// processes, NVML or output, does no I/O and has no clock: times come from the
// caller, and only Replay and Timeline look at them. It repairs nothing: what
// happens after a violation is the caller's policy.
//
// # State
//
// For each Key (session id, rank, thread id, lane) there is one stack of open
// scopes, and for the whole recorder one sequence counter. An accepted enter or
// exit takes the next sequence number. A scope is named by the sequence number
// of its enter; its scope id is "<session id>:<that number>".
//
// # Two ways in
//
// Enter, Exit, EnterPhase, ExitPhase and Open lock by themselves, may be called
// from any goroutine, and return boundaries that stay valid.
//
// For streams of records there is a second way with the same semantics and no
// look-up, lock or allocation a record: resolve a *Stack once a thread, and call
// its methods between Acquire and Release. Boundaries from there borrow their
// attributes; see Boundary.Attributes.
//
// # Paths
//
// A recorder interns the paths of its scopes. Paths does the same without one,
// for phases whose scopes somebody else has kept.
//
// # Bounds
//
// Everything that the traced program can make grow is bounded by Limits, and
// what goes over a bound is counted in Stats. With the default limits the
// recorder stays below 64 MiB whatever its input, apart from the stacks that
// the caller has resolved and not released.
package recorder
