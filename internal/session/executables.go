// SPDX-License-Identifier: Apache-2.0

package session

import (
	"github.com/phasetrace/phasetrace/internal/event"
	"github.com/phasetrace/phasetrace/internal/loader"
)

// maxKnown bounds the executables that are known to have been looked at.
const maxKnown = 1 << 16

// executables are what is known of the files that programs were started from.
type executables struct {
	known   map[event.File]int64 // since when their markers are attached, ns CLOCK_MONOTONIC
	passing map[event.File]bool  // those of which every process has to be looked at
}

// forget makes processes that run a file wait again.
func (x *executables) forget(f *file, tracer *loader.Tracer) {
	for k := range f.execs {
		delete(x.known, k)
		delete(x.passing, k)
		tracer.ForgetExec(k)
	}
}
