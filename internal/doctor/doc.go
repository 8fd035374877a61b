// SPDX-License-Identifier: Apache-2.0

// Package doctor finds out what works on this machine and for one process, what
// does not, and what to do about it.
//
// Looking (Machine, Process) tries features and reads /proc. Judging is pure: it
// turns what was found into checks. The package may use the loader, the target's
// files and NVML for looking. It must not know sessions, the recorder or how a
// trace is written, and it changes nothing: its only probe sits in its own process,
// for a moment.
package doctor
