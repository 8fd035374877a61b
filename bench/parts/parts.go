// SPDX-License-Identifier: Apache-2.0

// Package parts holds the BPF programs by which the benchmark takes one
// boundary apart, compiled, and their generated bindings. Only the benchmark
// may import it.
package parts

//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -go-package parts -target bpfel -tags "amd64 || arm64" -strip llvm-strip Parts parts.bpf.c -- -O2 -g -Wall -Wextra -Wno-unused-parameter -mcpu=v3
