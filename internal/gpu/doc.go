// SPDX-License-Identifier: Apache-2.0

// Package gpu knows devices, their memory over time, and which read of it
// belongs to which moment.
//
// Three parts, each usable without the others:
//
//   - a [Source] reads: package nvsample's, or [Fake];
//   - a [Sampler] decides when to read, survives calls that hang, and hands the
//     reads over as [Sample] values;
//   - a [Correlator] gives every moment the read nearest to it, and every
//     stretch of time its change, its peak and the number of reads behind it.
//
// The package is pure Go. It must not know what a phase, a marker, an event or
// an output format is, nor how a device is read; its callers translate. All
// times are int64 nanoseconds of CLOCK_MONOTONIC, all sizes are bytes. A number
// that was not read is never 0: it is a [Value] with Known false, beside a
// [Status].
package gpu
