// SPDX-License-Identifier: Apache-2.0

// Command skips runs go test with its own arguments, shows what go test would
// show, and at the end lists the tests that were skipped, by reason. Its exit
// status is that of go test.
//
//	go run ./test/skips ./...
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	goTool := os.Getenv("GO")
	if goTool == "" {
		goTool = "go"
	}
	// Ctrl-C is for go test, which has it too; this waits for what that does.
	signal.Ignore(os.Interrupt)
	cmd := exec.Command(goTool, append([]string{"test", "-json"}, args...)...)
	cmd.Stderr = stderr
	events, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintln(stderr, "skips: run go test:", err)
		return 1
	}
	report := newReport(stdout)
	readErr := report.read(events)
	err = cmd.Wait()
	report.list()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return exit.ExitCode()
	case err != nil:
		fmt.Fprintln(stderr, "skips: run go test:", err)
		return 1
	case readErr != nil:
		fmt.Fprintln(stderr, "skips: read the events of go test:", readErr)
		return 1
	}
	return 0
}
