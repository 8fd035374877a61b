// SPDX-License-Identifier: Apache-2.0

// Package examples holds the example programs' texts, for the demo command and
// for tests. It must not know tracing.
package examples

import _ "embed"

// Demo is demo/demo.c: a toy training job, a single C file that needs
// phasetrace.h on the include path and -pthread.
//
//go:embed demo/demo.c
var Demo string

// Hello is hello/hello.c, the smallest program with a phase.
//
//go:embed hello/hello.c
var Hello string
