// SPDX-License-Identifier: Apache-2.0

// Package session is one tracing session: it wires processes, probes, the
// engine, the sampler of device memory and the sinks together.
//
// It must not know how sinks write, nor name a flag of the command line.
package session
