// SPDX-License-Identifier: Apache-2.0

//go:build !cgo

// Package demo runs the example program examples/demo inside a process of
// phasetrace; this build, made without a C compiler, does not contain it. It must
// not know tracing.
package demo

// Available reports whether this build contains the program.
const Available = false

// Run does nothing here.
func Run([]string) int { return 1 }
