// SPDX-License-Identifier: Apache-2.0
//
// A fake libcuda.so.1: allocations change what the fake libnvidia-ml.so answers.

#include "control.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NO_DEVICE = 100 };

#define EXPORT __attribute__((visibility("default")))
#define GRANULE (2u << 20) // allocations take whole pages of the device

struct block {
	uint64_t size, device;
};

static int current;

static struct fake_process *self(struct fake_device *d)
{
	uint64_t pid = (uint64_t)getpid();
	for (uint64_t i = 0; i < d->computes; i++)
		if (d->compute[i].pid == pid)
			return &d->compute[i];
	struct fake_process *p = &d->compute[d->computes];
	*p = (struct fake_process){pid, 0};
	__atomic_add_fetch(&d->computes, 1, __ATOMIC_SEQ_CST);
	return p;
}

EXPORT int cuInit(unsigned flags)
{
	(void)flags;
	return fake_attach() ? SUCCESS : NO_DEVICE;
}

EXPORT int cuDriverGetVersion(int *version)
{
	*version = 12040;
	return SUCCESS;
}

EXPORT int cuDeviceGet(int *device, int ordinal)
{
	if (ordinal < 0 || (uint64_t)ordinal >= fake_attach()->devices)
		return NO_DEVICE;
	*device = ordinal;
	return SUCCESS;
}

EXPORT int cuDeviceGetName(char *name, int size, int device)
{
	(void)device;
	strncpy(name, "NVIDIA Fake", (size_t)size);
	return SUCCESS;
}

EXPORT int cuDevicePrimaryCtxRetain(void **context, int device)
{
	*context = (void *)(uintptr_t)(device + 1);
	return SUCCESS;
}

EXPORT int cuDevicePrimaryCtxRelease_v2(int device)
{
	(void)device;
	return SUCCESS;
}

EXPORT int cuCtxSetCurrent(void *context)
{
	current = (int)(uintptr_t)context - 1;
	return SUCCESS;
}

EXPORT int cuMemAlloc_v2(uint64_t *pointer, size_t size)
{
	struct fake_device *d = &fake_attach()->device[current];
	struct block *b = malloc(sizeof *b);
	if (!b)
		return OUT_OF_MEMORY;
	*b = (struct block){((uint64_t)size + GRANULE - 1) / GRANULE * GRANULE, (uint64_t)current};
	if (d->used + b->size > d->total) {
		free(b);
		return OUT_OF_MEMORY;
	}
	__atomic_add_fetch(&d->used, b->size, __ATOMIC_SEQ_CST);
	__atomic_add_fetch(&self(d)->used, b->size, __ATOMIC_SEQ_CST);
	*pointer = (uint64_t)(uintptr_t)b;
	return SUCCESS;
}

EXPORT int cuMemFree_v2(uint64_t pointer)
{
	struct block *b = (struct block *)(uintptr_t)pointer;
	if (!b)
		return INVALID_VALUE;
	struct fake_device *d = &fake_attach()->device[b->device];
	__atomic_sub_fetch(&d->used, b->size, __ATOMIC_SEQ_CST);
	__atomic_sub_fetch(&self(d)->used, b->size, __ATOMIC_SEQ_CST);
	free(b);
	return SUCCESS;
}
