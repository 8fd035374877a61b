// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/phasetrace/phasetrace/internal/apart"
	"github.com/phasetrace/phasetrace/internal/output/human"
)

// Exit statuses of phasetrace itself. "run" passes on the command's own when
// tracing was fine.
const (
	statusFine       = 0
	statusFailed     = 1
	statusUsage      = 2
	statusViolations = 3 // with --strict
	statusLost       = 4 // with --strict
)

// statusError ends the program with a status. A nil err has already been reported.
type statusError struct {
	status int
	err    error
}

func (e *statusError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit status %d", e.status)
	}
	return e.err.Error()
}

func (e *statusError) Unwrap() error { return e.err }

func usageError(format string, args ...any) error {
	return &statusError{statusUsage, fmt.Errorf(format, args...)}
}

// streams are the program's standard streams.
type streams struct {
	in       io.Reader
	out, err io.Writer
	// ownProcess: nothing else runs in this process, which may give up its
	// privileges, and start a worker. worker is not nil in that one.
	ownProcess bool
	worker     *apart.Worker
}

// runMain is main: it returns the exit status.
func runMain() int {
	s := &streams{in: os.Stdin, out: os.Stdout, err: os.Stderr, ownProcess: true, worker: apart.Inside()}
	status := s.execute(context.Background(), os.Args[1:])
	if s.worker != nil {
		s.worker.End(status)
	}
	return status
}

// run is main without the process: it returns the exit status.
func run(ctx context.Context, args []string, in io.Reader, out, errw io.Writer) int {
	return (&streams{in: in, out: out, err: errw}).execute(ctx, args)
}

func (s *streams) execute(ctx context.Context, args []string) int {
	root := newRoot(s)
	root.SetArgs(args)
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return statusFine
	}
	var st *statusError
	if !errors.As(err, &st) {
		st = &statusError{statusUsage, err} // cobra's own: an unknown command
	}
	if st.err != nil {
		said := make(map[string]bool) // what ends a session may be met again in its end
		for line := range strings.SplitSeq(st.err.Error(), "\n") {
			if !said[line] {
				fmt.Fprintf(s.err, "phasetrace: %s\n", human.Escape(line)) // names in it are others' choice
			}
			said[line] = true
		}
		if st.status == statusUsage {
			if cmd.Name() == "help" {
				cmd = root
			}
			fmt.Fprintf(s.err, "Try \"%s --help\".\n", cmd.CommandPath())
		}
	}
	return st.status
}

const rootLong = `phasetrace attaches to a running, unmodified program, turns its paired USDT
markers into strictly nested phases with real thread ids, and reports the GPU's
memory at every phase boundary.

  sudo phasetrace -p PID             attach and stream until Ctrl-C
  sudo phasetrace --exe FILE         trace a program across its restarts
  sudo phasetrace run -- CMD ARG…    start a command and trace it from its start
  phasetrace list -p PID             which markers a program has`

func newRoot(s *streams) *cobra.Command {
	o := newTraceOptions()
	root := &cobra.Command{
		Use:           "phasetrace",
		Short:         "Trace the phases of a running program, and the GPU memory at each boundary",
		Long:          rootLong,
		Version:       version(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().NFlag() == 0 {
				return cmd.Help()
			}
			return trace(cmd.Context(), o, s)
		},
	}
	o.register(root, traceFlags)
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(newTrace(s), newRun(s), newDemo(s), newDemoProgram(), newList(s), newDoctor(s), newVersion(s))
	root.SetVersionTemplate(versionLine())
	dressHelp(root, s)
	return root
}

func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if cmd.HasParent() || cmd.Flags().NFlag() > 0 {
		return unexpected(cmd, args[0])
	}
	return unknownCommand(cmd, args[0])
}

func newTrace(s *streams) *cobra.Command {
	o := newTraceOptions()
	cmd := &cobra.Command{
		Use:     "trace (-p PID | --exe FILE)",
		Short:   "Attach to running processes and stream their phases",
		Example: "  sudo phasetrace trace -p 4242\n  sudo phasetrace trace -p 4242 -d 10s -o phases.jsonl\n  sudo phasetrace trace -f -p 4242 --also 'wait for lock'",
		Args:    noArguments,
		RunE:    func(cmd *cobra.Command, _ []string) error { return trace(cmd.Context(), o, s) },
	}
	o.register(cmd, traceFlags)
	return cmd
}

func newRun(s *streams) *cobra.Command {
	o := newTraceOptions()
	cmd := &cobra.Command{
		Use:     "run [flags] -- CMD [ARG…]",
		Short:   "Start a command and trace it from its first instruction",
		Example: "  sudo phasetrace run -- ./train --epochs 3\n  sudo phasetrace run -f -o phases.jsonl -- make test",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError("no command to run: phasetrace run [flags] -- CMD [ARG…]")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			o.command = args
			o.shared = o.linesOnStdout()
			return trace(cmd.Context(), o, s)
		},
	}
	cmd.Flags().SetInterspersed(false)
	o.register(cmd, runFlags)
	return cmd
}
