// SPDX-License-Identifier: Apache-2.0
//
// The few functions of the CUDA driver that the examples need, found at run
// time: they build without a CUDA toolkit and start without a driver.

#ifndef EXAMPLE_CUDA_H
#define EXAMPLE_CUDA_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef int CUresult; // 0: success
typedef int CUdevice;
typedef void *CUcontext;
typedef uint64_t CUdeviceptr;

struct cuda {
	CUresult (*cuInit)(unsigned flags);
	CUresult (*cuDriverGetVersion)(int *version);
	CUresult (*cuDeviceGet)(CUdevice *device, int ordinal);
	CUresult (*cuDeviceGetName)(char *name, int size, CUdevice device);
	CUresult (*cuDevicePrimaryCtxRetain)(CUcontext *context, CUdevice device);
	CUresult (*cuDevicePrimaryCtxRelease)(CUdevice device);
	CUresult (*cuCtxSetCurrent)(CUcontext context);
	CUresult (*cuMemAlloc)(CUdeviceptr *pointer, size_t size);
	CUresult (*cuMemFree)(CUdeviceptr pointer);
	CUresult (*cuDeviceGetUuid)(unsigned char uuid[16], CUdevice device); // NULL with drivers that lack it
};

// cuda_load opens the driver's library, "libcuda.so.1" unless path says another,
// and fills in the functions. It ends the program with a message when it cannot.
void cuda_load(struct cuda *cuda, const char *path);

// cuda_check ends the program with a message unless r is success.
void cuda_check(CUresult r, const char *what);

// cuda_open starts the driver and writes the log's first line, which says what
// device that is. The device is numbered as NVML does.
CUdevice cuda_open(struct cuda *cuda, int ordinal, FILE *log);

// now_ns returns the time of CLOCK_MONOTONIC.
uint64_t now_ns(void);

#endif
