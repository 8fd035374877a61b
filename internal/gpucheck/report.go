// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

// print writes the comparison as a table and returns an error unless all of it
// is right.
func (r *report) print(w io.Writer) error {
	var uts syscall.Utsname
	if err := syscall.Uname(&uts); err == nil {
		fmt.Fprintf(w, "kernel %s, driver %s, ", text(uts.Release[:]), driver())
	}
	fmt.Fprintf(w, "CUDA %d.%d, %s\n\n", r.Device.CUDAVersion/1000, r.Device.CUDAVersion%1000/10, r.Device.Name)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "PHASE\tCHANGE MiB\tDONE\tPEAK MiB\tDONE\tSAMPLES\tENTER AGE\tEXIT AGE\t")
	for _, x := range r.Rows {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%d\t%v\t%v\t%s %s\n", strings.Join(x.Path, " / "),
			mib(x.GotChange), mib(x.WantChange), mib(x.GotPeak), mib(x.WantPeak), x.Samples,
			time.Duration(x.EnterAge), time.Duration(x.ExitAge), x.Verdict, x.Why)
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("write the comparison: %w", err)
	}
	for _, p := range r.Problems {
		fmt.Fprintln(w, "problem:", p)
	}
	if !r.ok() {
		return fmt.Errorf("the trace does not say what the program did; if other programs use this GPU, stop them and try again")
	}
	fmt.Fprintln(w, "\nall phases agree")
	return nil
}

func mib(n int64) string { return fmt.Sprintf("%.1f", float64(n)/(1<<20)) }

func text[T int8 | uint8](chars []T) string {
	var b strings.Builder
	for _, c := range chars {
		if c == 0 {
			break
		}
		b.WriteByte(byte(c))
	}
	return b.String()
}

func driver() string {
	b, err := os.ReadFile("/sys/module/nvidia/version")
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(b))
}
