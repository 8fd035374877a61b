// SPDX-License-Identifier: Apache-2.0
//
// A fake libnvidia-ml.so: the functions that phasetrace calls, answering from a
// shared file. With FAKE_OLD it lacks those that old drivers lack.

#define _GNU_SOURCE
#include "control.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
	SUCCESS = 0,
	INVALID_ARGUMENT = 2,
	NOT_SUPPORTED = 3,
	NOT_FOUND = 6,
	INSUFFICIENT_SIZE = 7,
	DRIVER_NOT_LOADED = 9,
	ARGUMENT_VERSION_MISMATCH = 25,
};

#define EXPORT __attribute__((visibility("default")))
#define LOAD(field) __atomic_load_n(&(field), __ATOMIC_SEQ_CST)

typedef uint32_t ret_t;
// A handle is the number of the GPU plus 1, and for a MIG instance that plus
// 100 times the instance plus 1.
typedef uintptr_t handle_t;

struct memory {
	uint64_t total, free, used;
};

struct memory_v2 {
	uint32_t version;
	uint64_t total, reserved, free, used;
};

struct process {
	uint32_t pid;
	uint64_t used;
	uint32_t gpu_instance, compute_instance;
};

static uint64_t now_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void nap(void)
{
	nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

static struct fake_device *device_of(handle_t h)
{
	struct fake_control *c = fake_attach();
	uintptr_t i = h % 100 - 1;
	return c && i < LOAD(c->devices) && i < FAKE_DEVICES ? &c->device[i] : NULL;
}

static void spend(uint64_t ns)
{
	for (uint64_t until = now_ns() + ns; ns && now_ns() < until;)
		;
}

// moment returns how far into its time a call looks at the memory, in ns. The
// moments of many calls spread evenly.
static uint64_t moment(uint64_t call, uint64_t delay)
{
	return (call * 0x9e3779b97f4a7c15ull >> 32) % (delay + 1);
}

static void hang_on(struct fake_device *d, uint64_t *hang)
{
	if (!LOAD(*hang))
		return;
	__atomic_add_fetch(&d->hanging, 1, __ATOMIC_SEQ_CST);
	while (LOAD(*hang))
		nap();
	__atomic_sub_fetch(&d->hanging, 1, __ATOMIC_SEQ_CST);
}

static ret_t copy(char *to, uint32_t size, const char *text)
{
	if (size <= strlen(text))
		return INSUFFICIENT_SIZE;
	strcpy(to, text);
	return SUCCESS;
}

EXPORT ret_t nvmlInit_v2(void)
{
	struct fake_control *c = fake_attach();
	if (!c)
		return DRIVER_NOT_LOADED;
	__atomic_add_fetch(&c->inits, 1, __ATOMIC_SEQ_CST);
	return (ret_t)LOAD(c->init_return);
}

EXPORT ret_t nvmlShutdown(void)
{
	struct fake_control *c = fake_attach();
	if (c)
		__atomic_add_fetch(&c->shutdowns, 1, __ATOMIC_SEQ_CST);
	return SUCCESS;
}

EXPORT const char *nvmlErrorString(ret_t r)
{
	(void)r;
	return "fake error";
}

EXPORT ret_t nvmlSystemGetDriverVersion(char *version, uint32_t size)
{
	return copy(version, size, "550.54.15");
}

EXPORT ret_t nvmlSystemGetNVMLVersion(char *version, uint32_t size)
{
	return copy(version, size, "12.550.54.15");
}

EXPORT ret_t nvmlDeviceGetCount_v2(uint32_t *count)
{
	struct fake_control *c = fake_attach();
	*count = c ? (uint32_t)LOAD(c->devices) : 0;
	return SUCCESS;
}

EXPORT ret_t nvmlDeviceGetHandleByIndex_v2(uint32_t index, handle_t *handle)
{
	struct fake_device *d = device_of(index + 1);
	if (!d)
		return INVALID_ARGUMENT;
	*handle = index + 1;
	return (ret_t)LOAD(d->handle_return);
}

EXPORT ret_t nvmlDeviceGetName(handle_t h, char *name, uint32_t size)
{
	(void)h;
	return copy(name, size, "NVIDIA Fake");
}

EXPORT ret_t nvmlDeviceGetUUID(handle_t h, char *uuid, uint32_t size)
{
	char text[64];
	snprintf(text, sizeof text, h < 100 ? "GPU-fake-%u" : "MIG-fake-%u-%u", (unsigned)(h % 100 - 1), (unsigned)(h / 100 - 1));
	return copy(uuid, size, text);
}

// look says what is in use now. An instance has an eighth of the GPU; while a GPU is
// partitioned nobody may read the whole.
static ret_t look(struct fake_device *d, handle_t h, struct memory_v2 *m)
{
	if (LOAD(d->memory_return))
		return (ret_t)LOAD(d->memory_return);
	if (LOAD(d->mig) && h < 100)
		return 4; // NO_PERMISSION
	uint64_t share = h < 100 ? 1 : 8;
	m->total = LOAD(d->total) / share;
	m->reserved = LOAD(d->reserved) / share;
	m->used = LOAD(d->used);
	if (m->used == FAKE_CLOCK)
		m->used = now_ns();
	else if (share > 1)
		m->used = m->used / share + (h / 100 - 1);
	m->free = m->total - m->used - m->reserved;
	return SUCCESS;
}

// snapshot answers a memory call.
static ret_t snapshot(handle_t h, struct memory_v2 *m)
{
	struct fake_device *d = device_of(h);
	if (!d)
		return INVALID_ARGUMENT;
	uint64_t delay = LOAD(d->delay_ns);
	uint64_t before = moment(__atomic_add_fetch(&d->memory_calls, 1, __ATOMIC_SEQ_CST), delay);
	spend(before);
	hang_on(d, &d->hang_memory);
	ret_t r = look(d, h, m);
	spend(delay - before);
	return r;
}

EXPORT ret_t nvmlDeviceGetMemoryInfo(handle_t h, struct memory *out)
{
	struct memory_v2 m = {0};
	ret_t r = snapshot(h, &m);
	if (r == SUCCESS)
		*out = (struct memory){.total = m.total, .free = m.free, .used = m.used + m.reserved};
	return r;
}

#ifndef FAKE_OLD

EXPORT ret_t nvmlDeviceGetMemoryInfo_v2(handle_t h, struct memory_v2 *out)
{
	struct fake_device *d = device_of(h);
	if (out->version != (sizeof *out | 2u << 24))
		return ARGUMENT_VERSION_MISMATCH;
	if (d && LOAD(d->memory_v2_return))
		return (ret_t)LOAD(d->memory_v2_return);
	return snapshot(h, out);
}

static ret_t list(handle_t h, uint32_t *count, struct process *out, int graphic)
{
	struct fake_device *d = device_of(h);
	if (!d)
		return INVALID_ARGUMENT;
	if (!graphic) {
		__atomic_add_fetch(&d->process_calls, 1, __ATOMIC_SEQ_CST);
		spend(LOAD(d->delay_ns));
		hang_on(d, &d->hang_processes);
	}
	if (LOAD(d->processes_return))
		return (ret_t)LOAD(d->processes_return);
	struct fake_process *from = graphic ? d->graphic : d->compute;
	uint32_t n = (uint32_t)(graphic ? LOAD(d->graphics) : LOAD(d->computes)), room = *count;
	*count = n;
	if (n > room)
		return INSUFFICIENT_SIZE;
	for (uint32_t i = 0; i < n; i++)
		out[i] = (struct process){(uint32_t)LOAD(from[i].pid), LOAD(from[i].used), UINT32_MAX, UINT32_MAX};
	return SUCCESS;
}

EXPORT ret_t nvmlDeviceGetComputeRunningProcesses_v3(handle_t h, uint32_t *count, struct process *out)
{
	return list(h, count, out, 0);
}

EXPORT ret_t nvmlDeviceGetGraphicsRunningProcesses_v3(handle_t h, uint32_t *count, struct process *out)
{
	return list(h, count, out, 1);
}

EXPORT ret_t nvmlDeviceGetMigMode(handle_t h, uint32_t *current, uint32_t *pending)
{
	struct fake_device *d = device_of(h);
	if (!d)
		return INVALID_ARGUMENT;
	*current = *pending = LOAD(d->mig) != 0;
	return SUCCESS;
}

EXPORT ret_t nvmlDeviceGetMaxMigDeviceCount(handle_t h, uint32_t *count)
{
	(void)h;
	*count = 7;
	return SUCCESS;
}

EXPORT ret_t nvmlDeviceGetMigDeviceHandleByIndex(handle_t h, uint32_t index, handle_t *mig)
{
	struct fake_device *d = device_of(h);
	if (!d || index >= LOAD(d->mig))
		return NOT_FOUND;
	*mig = h + 100 * (index + 1);
	return SUCCESS;
}

#endif
