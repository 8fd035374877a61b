// SPDX-License-Identifier: Apache-2.0

// Package usdt reads the USDT probes of an ELF file and says which of them pair up
// into phases.
//
// It is pure. It knows ELF, SystemTap notes, the operand grammars of x86-64 and
// arm64, and the probes of well-known programs. It must not know processes, /proc,
// BPF or what becomes of a pair: the same bytes give the same result on every
// machine, and no privilege is ever needed.
//
// Files come from other people. [Read] therefore bounds its time and memory, never
// panics, and keeps going where it can: a malformed note costs that note and is
// reported as a [Problem]; a malformed argument costs that argument ([Arg.Err]) and
// never the probe.
//
// All functions are safe for concurrent use. The caller owns what they return, except
// that pairs made by naming rules share their attributes.
package usdt
