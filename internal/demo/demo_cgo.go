// SPDX-License-Identifier: Apache-2.0

//go:build cgo

// Package demo runs the example program examples/demo inside a process of
// phasetrace, so that there is something to trace on every machine. It must not
// know tracing.
package demo

// #cgo CFLAGS: -O2 -I${SRCDIR}/../../markers/c
// #cgo LDFLAGS: -pthread
// #include <stdlib.h>
// int phasetrace_demo_main(int argc, char **argv);
import "C"

import "unsafe"

// Available reports whether this build contains the program.
const Available = true

// Run runs the program to its end and returns its exit status. It prints to
// standard output.
func Run(args []string) int {
	argv := make([]*C.char, len(args)+2)
	for i, a := range append([]string{"demo"}, args...) {
		argv[i] = C.CString(a)
		defer C.free(unsafe.Pointer(argv[i]))
	}
	return int(C.phasetrace_demo_main(C.int(len(args)+1), &argv[0]))
}
