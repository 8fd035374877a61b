// SPDX-License-Identifier: Apache-2.0

#define _GNU_SOURCE
#include "cuda.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// find stores the first of two names that the library has; the second may be
// NULL.
static int find(void *library, void *function, const char *name, const char *other)
{
	void *p = dlsym(library, name);
	if (!p && other)
		p = dlsym(library, other);
	memcpy(function, &p, sizeof p);
	return p != NULL;
}

static void need(void *library, void *function, const char *name, const char *other)
{
	if (find(library, function, name, other))
		return;
	fprintf(stderr, "find %s: the CUDA driver lacks it; update the driver\n", name);
	exit(1);
}

void cuda_load(struct cuda *cuda, const char *path)
{
	void *l = dlopen(path ? path : "libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
	if (!l) {
		fprintf(stderr, "open the CUDA driver: %s; install the NVIDIA driver\n", dlerror());
		exit(1);
	}
	need(l, &cuda->cuInit, "cuInit", NULL);
	need(l, &cuda->cuDriverGetVersion, "cuDriverGetVersion", NULL);
	need(l, &cuda->cuDeviceGet, "cuDeviceGet", NULL);
	need(l, &cuda->cuDeviceGetName, "cuDeviceGetName", NULL);
	need(l, &cuda->cuDevicePrimaryCtxRetain, "cuDevicePrimaryCtxRetain", NULL);
	need(l, &cuda->cuDevicePrimaryCtxRelease, "cuDevicePrimaryCtxRelease_v2", "cuDevicePrimaryCtxRelease");
	need(l, &cuda->cuCtxSetCurrent, "cuCtxSetCurrent", NULL);
	need(l, &cuda->cuMemAlloc, "cuMemAlloc_v2", NULL);
	need(l, &cuda->cuMemFree, "cuMemFree_v2", NULL);
	find(l, &cuda->cuDeviceGetUuid, "cuDeviceGetUuid_v2", "cuDeviceGetUuid");
}
