// SPDX-License-Identifier: Apache-2.0

//go:build !mkdocs

// Command phasetrace turns the USDT markers of a running, unmodified program
// into strictly nested phases and reports the GPU's memory at every phase
// boundary. This package is the command line only.
package main

import "os"

func main() {
	os.Exit(runMain())
}
