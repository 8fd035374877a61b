// SPDX-License-Identifier: Apache-2.0

#define _GNU_SOURCE
#include "cuda.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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
	setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID", 1); // as NVML numbers them
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

void cuda_check(CUresult r, const char *what)
{
	if (r == 0)
		return;
	fprintf(stderr, "%s: CUDA error %d; see nvidia-smi for free memory and the driver's state\n", what, r);
	exit(1);
}

CUdevice cuda_open(struct cuda *cuda, int ordinal, FILE *log)
{
	CUdevice device;
	char name[128] = "";
	unsigned char uuid[16];
	int version = 0;

	cuda_check(cuda->cuInit(0), "start the CUDA driver");
	cuda_check(cuda->cuDriverGetVersion(&version), "ask the driver's version");
	cuda_check(cuda->cuDeviceGet(&device, ordinal), "find the device");
	cuda_check(cuda->cuDeviceGetName(name, sizeof name - 1, device), "ask the device's name");
	fprintf(log, "{\"device\":%d,\"name\":\"%s\",\"cuda_version\":%d,\"uuid\":\"", ordinal, name, version);
	if (cuda->cuDeviceGetUuid && cuda->cuDeviceGetUuid(uuid, device) == 0)
		for (int i = 0; i < 16; i++)
			fprintf(log, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", uuid[i]);
	fprintf(log, "\"}\n");
	return device;
}

uint64_t now_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}
