// SPDX-License-Identifier: Apache-2.0

//go:build !mkdocs

// Command phasetrace turns the USDT markers of a running, unmodified program
// into strictly nested phases and tells for every phase boundary what the
// GPU's memory was. This package is the command line only.
package main

import (
	"context"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

func main() {
	// A closed pipe is an error of the output like any other: the session then
	// ends in order. Caught, not ignored, so that commands do not inherit it.
	signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE)
	os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
