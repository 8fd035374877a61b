// SPDX-License-Identifier: Apache-2.0

// Package phasetrace is the root of the module; the program is cmd/phasetrace.
//
// This file only holds the generator. It needs clang, llvm-strip and libbpf's
// headers ("make generate" checks and names the Debian packages); building
// does not, because the compiled object is committed. One little-endian object
// serves amd64 and arm64: everything that depends on the architecture reaches
// the BPF programs as data. The second object is the benchmark's own.
package phasetrace

//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -go-package bpf -output-dir bpf -target bpfel -tags "amd64 || arm64" -strip llvm-strip -type marker_record -type thread_record -type thread_exit_record -type process_exit_record -type exec_record -type fork_record -type library_record -type file_start_record -type identity -type thread_state -type ring_header -type string_slot -type constant_slot -type cookie_bits -type loss_key -type exe_key -type held_exec -type record_type -type site_role -type string_flag -type drop_counter Phasetrace bpf/phasetrace.bpf.c -- -O2 -g -Wall -Wextra -Wno-unused-parameter -mcpu=v3
//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -go-package parts -output-dir bench/parts -target bpfel -tags "amd64 || arm64" -strip llvm-strip Parts bench/parts/parts.bpf.c -- -O2 -g -Wall -Wextra -Wno-unused-parameter -mcpu=v3
