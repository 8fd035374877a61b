// SPDX-License-Identifier: Apache-2.0

// Package bpf holds the BPF programs, compiled, and their generated bindings.
//
// The C sources lie beside this file: event.h is the contract with
// internal/loader, kernel.h the kernel types that are read, phasetrace.bpf.c
// the programs. Nothing here is written by hand except this comment; run
// "make generate" after a change of the sources. Only internal/loader may
// import this package.
package bpf
