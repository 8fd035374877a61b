// SPDX-License-Identifier: Apache-2.0

package main

import (
	"github.com/spf13/cobra"

	"github.com/phasetrace/phasetrace/internal/doctor"
)

func newDoctor(s *streams) *cobra.Command {
	var o doctor.Options
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor [-p PID]",
		Short: "Show what works here, what does not, and what to do about it",
		Long: `Doctor tries what a trace needs of this machine and, with -p, of one process:
kernel features, privileges, settings, GPUs, the nops under the markers, and
probes that cannot fire. It changes nothing. Its exit status is 0 when tracing
would work, else 1.`,
		Example: "  sudo phasetrace doctor\n  sudo phasetrace doctor -p 4242\n  phasetrace doctor --json",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("pid") && o.PID <= 0 {
				return usageError("--pid %d: want the number of a process", o.PID)
			}
			if err := checkLibrary(o.NVMLLibrary); err != nil {
				return err
			}
			return examine(o, asJSON, s)
		},
	}
	f := cmd.Flags()
	f.IntVarP(&o.PID, "pid", "p", 0, "also look at process `PID`")
	f.StringVar(&o.NVMLLibrary, "nvml-library", "", "`FILE` to load as libnvidia-ml.so.1 (default: the usual places)")
	f.BoolVar(&asJSON, "json", false, "write JSON")
	f.SortFlags = false
	return cmd
}

// examine writes the report, and fails when tracing would not work: the report
// has said why.
func examine(o doctor.Options, asJSON bool, s *streams) error {
	r := doctor.Examine(o)
	r.Advise(doctorAdvice)
	var err error
	if asJSON {
		err = doctor.WriteJSON(s.out, r)
	} else {
		err = wrapWrite(doctor.WriteTable(s.out, r, paletteFor(s), columns(s.out)))
	}
	switch {
	case err != nil:
		return &statusError{statusFailed, err}
	case !r.Works:
		return &statusError{statusFailed, nil}
	}
	return nil
}
