// SPDX-License-Identifier: Apache-2.0

// Package nvsample reads the memory of NVIDIA devices through NVML, in the
// background and under a budget, and says which read belongs to which moment.
//
// Three parts, each usable without the others:
//
//   - a [Source] reads: the real one ([Open], on go-nvml) or [Fake];
//   - a [Sampler] decides when to read, survives calls that hang, and hands the
//     reads over as [Sample] values;
//   - a [Correlator] gives every moment the read nearest to it, and every
//     stretch of time its change, its peak and the number of reads behind it.
//
// The package knows devices, reads and times. It must not know what a phase, a
// marker, an event or an output format is; its callers translate. All times are
// int64 nanoseconds of CLOCK_MONOTONIC, all sizes are bytes. A number that was
// not read is never 0: it is a [Value] with Known false, beside a [Status].
package nvsample
