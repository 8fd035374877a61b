// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/phasetrace/phasetrace/internal/demo"
)

// demoProgram is the hidden command that the demo traces: the example program
// in a process of its own.
const demoProgram = "demo-program"

func newDemo(s *streams) *cobra.Command {
	o := newTraceOptions()
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Trace a small built-in program with several threads",
		Long: `demo starts a toy training job (examples/demo/demo.c: a trainer thread and two
loader threads, about three seconds) and traces it live.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !demo.Available {
				return &statusError{statusFailed, errors.New(
					"this build contains no C code and so no demo program: compile examples/demo/demo.c and use \"phasetrace run -- ./demo\"")}
			}
			self, err := os.Executable()
			if err != nil {
				return &statusError{statusFailed, fmt.Errorf("find the demo program: %w", err)}
			}
			o.command = []string{self, demoProgram}
			return trace(cmd.Context(), o, s)
		},
	}
	o.register(cmd, runFlags)
	return cmd
}

func newDemoProgram() *cobra.Command {
	return &cobra.Command{
		Use:    demoProgram,
		Hidden: true,
		RunE: func(_ *cobra.Command, args []string) error {
			if status := demo.Run(args); status != 0 {
				return &statusError{status, nil}
			}
			return nil
		},
	}
}
