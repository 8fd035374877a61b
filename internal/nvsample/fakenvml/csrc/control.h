// SPDX-License-Identifier: Apache-2.0
//
// The shared file by which a test controls the fake libraries. Every field is
// 64 bits; control.go mirrors this file field by field.

#ifndef FAKE_CONTROL_H
#define FAKE_CONTROL_H

#include <stdint.h>

#define FAKE_ENV "PHASETRACE_FAKE_NVML"
#define FAKE_MAGIC 0x6c6d766e656b6166ull
#define FAKE_DEVICES 4
#define FAKE_PROCESSES 8
#define FAKE_CLOCK UINT64_MAX // as used: the time of the read

struct fake_process {
	uint64_t pid, used;
};

struct fake_device {
	uint64_t used, total, reserved;     // bytes
	uint64_t handle_return;             // NVML return value of getting the handle
	uint64_t memory_return;             // of both memory calls
	uint64_t memory_v2_return;          // of the second version alone
	uint64_t processes_return;          // of both process lists
	uint64_t hang_memory, hang_processes; // not 0: calls wait
	uint64_t delay_ns;                  // every call takes at least that long; a memory call looks at some moment of it
	uint64_t mig;                       // MIG instances, 0: not partitioned
	uint64_t computes, graphics;        // entries used below
	struct fake_process compute[FAKE_PROCESSES], graphic[FAKE_PROCESSES];
	uint64_t memory_calls, process_calls, hanging; // written by the library
};

struct fake_control {
	uint64_t magic;
	uint64_t init_return;
	uint64_t devices;
	uint64_t inits, shutdowns; // written by the library
	struct fake_device device[FAKE_DEVICES];
};

// fake_attach maps the file named by the environment; NULL without one.
struct fake_control *fake_attach(void);

#endif
