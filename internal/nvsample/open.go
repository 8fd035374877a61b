// SPDX-License-Identifier: Apache-2.0

package nvsample

import "github.com/phasetrace/phasetrace/internal/gpu"

// Open loads the NVML library and finds the devices. With an empty path the
// usual places are tried in turn. The error is an *[Error]. It can take seconds,
// and hang with a broken driver: see [StartOpening].
//
// A process can use one NVML library in its life: opening another file later
// fails, opening the same one again works.
func Open(libraryPath string) (gpu.Source, error) { return openNVML(libraryPath) }
