// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/phasetrace/phasetrace/internal/inspect"
	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/output/human"
	"github.com/phasetrace/phasetrace/internal/process"
	"github.com/phasetrace/phasetrace/internal/usdt"
)

// listOptions are the flags of list, as given.
type listOptions struct {
	pid       int
	pairs     pairOptions
	json      bool
	pairsOnly bool
}

func newList(s *streams) *cobra.Command {
	var o listOptions
	cmd := &cobra.Command{
		Use:   "list (-p PID | FILE…)",
		Short: "Show USDT probes, their arguments, and the pairs they form",
		Long: `List shows the USDT probes of a running process or of files: each site with
its offset, semaphore, kind of nop and arguments, the pair it belongs to, and
which pairs a trace would take and why. Several files are treated as if one
program had loaded them all. Files need no privileges.`,
		Example: "  phasetrace list /usr/lib/postgresql/15/bin/postgres\n  sudo phasetrace list -p 4242 --pairs\n  phasetrace list --json ./train",
		RunE: func(cmd *cobra.Command, args []string) error {
			return list(cmd.Flags().Changed("pid"), &o, args, s)
		},
	}
	f := cmd.Flags()
	f.IntVarP(&o.pid, "pid", "p", 0, "look at the files of process `PID`")
	f.BoolVar(&o.pairsOnly, "pairs", false, "only the pairs, not every site")
	f.StringArrayVar(&o.pairs.also, "also", nil, "show what a trace with --also `NAME` would take; repeatable")
	f.StringArrayVar(&o.pairs.only, "only", nil, "show what a trace with --only `NAME` would take; repeatable")
	f.StringArrayVar(&o.pairs.specs, "pair", nil, "show what a trace with --pair `SPEC` would take; repeatable")
	f.BoolVar(&o.json, "json", false, "write JSON")
	f.SortFlags = false
	return cmd
}

func list(byPID bool, o *listOptions, files []string, s *streams) error {
	switch {
	case byPID && len(files) > 0:
		return usageError("list either a process (-p PID) or files, not both")
	case byPID && o.pid <= 0:
		return usageError("--pid %d: want the number of a process", o.pid)
	case !byPID && len(files) == 0:
		return usageError("nothing to list: give a process with -p PID, or files")
	}
	specs, err := o.pairs.parse()
	if err != nil {
		return err
	}
	defer inspect.BoundMemory()()
	l, err := look(o.pid, files, specs)
	if err != nil {
		return &statusError{statusFailed, err}
	}
	for _, c := range l.Choices {
		if c.Pair.Named {
			return &statusError{statusFailed, fmt.Errorf("list: pair %s: %s (%s)", c.Pair, c.Why, namesAdvice)}
		}
	}
	l.Advice = listAdvice
	l.Judge(loader.NopRewriting())
	if err := o.show(l, s); err != nil {
		return &statusError{statusFailed, err}
	}
	return nil
}

func look(pid int, files []string, specs []usdt.PairSpec) (*inspect.Listing, error) {
	if pid == 0 {
		return inspect.Files(files, specs), nil
	}
	proc, err := process.Open(pid)
	if err != nil {
		return nil, fmt.Errorf("list process %d: %w", pid, err)
	}
	defer proc.Close()
	return inspect.OfProcess(proc, specs)
}

// show writes the listing. Files that were asked for and could not be read
// fail the command, whatever the others hold; of a process's files some
// never can be, and they are part of the listing.
func (o *listOptions) show(l *inspect.Listing, s *streams) error {
	var errs []error
	if l.Process == nil {
		for _, f := range l.Failed() {
			errs = append(errs, fmt.Errorf("list %s: %w", human.Escape(f.Path), f.Err))
		}
	}
	missing := l.NoProbes()
	if missing != nil && (len(l.Files) == 0 || len(errs) < len(l.Files)) {
		errs = append(errs, errors.New(human.Escape(missing.Error())))
	}
	switch {
	case o.json:
		errs = append(errs, wrapWrite(inspect.WriteJSON(s.out, l, o.pairsOnly)))
	case missing == nil:
		errs = append(errs, wrapWrite(inspect.WriteTable(s.out, l, o.pairsOnly, paletteFor(s))))
	}
	return errors.Join(errs...)
}

func wrapWrite(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("write standard output: %w", err)
}

// paletteFor colours standard output when a person looks at it.
func paletteFor(s *streams) human.Palette {
	f, ok := s.out.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return human.Palette(human.ColourWanted(err == nil, os.Getenv))
}
