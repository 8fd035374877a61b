// SPDX-License-Identifier: Apache-2.0

// Package parts holds the BPF programs by which the benchmark takes one
// boundary apart, compiled, and their generated bindings. Only the benchmark
// may import it.
package parts
