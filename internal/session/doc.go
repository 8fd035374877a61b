// SPDX-License-Identifier: Apache-2.0

// Package session is one tracing session: it wires processes, probes, the engine,
// the sampler of device memory and a sink together.
//
// It knows all of these by their interfaces. It must not know how sinks write, nor
// name a flag of the command line.
package session
