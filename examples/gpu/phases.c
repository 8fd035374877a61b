// SPDX-License-Identifier: Apache-2.0
//
// Allocates and frees known amounts of GPU memory inside marked phases, and logs
// what it did, so that `make gpu-check` can compare phasetrace's figures with
// the truth.
//
//     phases [-l LOG] [-d DEVICE] [-t HOLD_MS] [-c LIBCUDA]
//
// LOG gets one JSON object a line: first the device, then each phase as it ends,
// with the bytes of the program at enter and exit, and the most in between, not
// counting what the driver takes for itself. All allocations are multiples of
// 32 MiB, so that rounding by the driver does not show.

#define _GNU_SOURCE
#include "cuda.h"
#include "phasetrace.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)
#define MAX_DEPTH 8

static struct cuda cuda;
static FILE *out;
static long hold_ms = 200;

// What the program has allocated now.
static uint64_t live;

static struct phase {
	const char *name;
	uint64_t token, entered_ns, enter, peak;
} stack[MAX_DEPTH];
static int depth;

// hold lets the sampler see the present state before it changes.
static void hold(void)
{
	struct timespec ts = {hold_ms / 1000, hold_ms % 1000 * 1000000};
	nanosleep(&ts, NULL);
}

static CUdeviceptr take(size_t mib)
{
	CUdeviceptr p;
	cuda_check(cuda.cuMemAlloc(&p, mib * MIB), "allocate");
	live += mib * MIB;
	for (int i = 0; i < depth; i++)
		if (stack[i].peak < live)
			stack[i].peak = live;
	hold();
	return p;
}

static void give(CUdeviceptr p, size_t mib)
{
	cuda_check(cuda.cuMemFree(p), "free");
	live -= mib * MIB;
	hold();
}

static void enter(const char *name)
{
	stack[depth++] = (struct phase){name, 0, now_ns(), live, live};
	stack[depth - 1].token = phasetrace_enter(name);
	hold(); // so that the enter's sample shows the state before the first change
}

// leave ends the innermost phase; exact is 0 when the driver allocated on its
// own in it.
static void leave(int exact)
{
	struct phase *p = &stack[depth - 1];
	uint64_t exited_ns = now_ns();
	phasetrace_exit(p->token, p->name);
	fprintf(out, "{\"path\":[");
	for (int i = 0; i < depth; i++)
		fprintf(out, "%s\"%s\"", i ? "," : "", stack[i].name);
	fprintf(out,
		"],\"exact\":%s,\"entered_ns\":%" PRIu64 ",\"exited_ns\":%" PRIu64
		",\"enter_bytes\":%" PRIu64 ",\"exit_bytes\":%" PRIu64 ",\"peak_bytes\":%" PRIu64 "}\n",
		exact ? "true" : "false", p->entered_ns, exited_ns, p->enter, live, p->peak);
	depth--;
	hold(); // so that the exit's sample shows the state before the next change
}

static void open_device(int ordinal)
{
	CUdevice device = cuda_open(&cuda, ordinal, out);
	CUcontext context;

	enter("context"); // the driver takes what it needs for itself
	cuda_check(cuda.cuDevicePrimaryCtxRetain(&context, device), "make a context");
	cuda_check(cuda.cuCtxSetCurrent(context), "use the context");
	// The first allocation can make the driver take more.
	give(take(32), 32);
	leave(0);
}

static void work(void)
{
	enter("load");
	CUdeviceptr weights = take(256);
	leave(1);

	enter("train");
	CUdeviceptr leaked[3];
	for (int i = 0; i < 3; i++) {
		enter("step");
		enter("forward");
		CUdeviceptr activations = take(512);
		leave(1);
		enter("backward");
		CUdeviceptr gradients = take(128);
		give(gradients, 128);
		leave(1);
		give(activations, 512);
		leaked[i] = take(32);
		leave(1);
	}
	leave(1);

	enter("idle");
	hold();
	leave(1);

	enter("unload");
	for (int i = 0; i < 3; i++)
		give(leaked[i], 32);
	give(weights, 256);
	leave(1);
}

int main(int argc, char **argv)
{
	const char *log = "/dev/stdout", *library = NULL;
	int device = 0;
	for (int c; (c = getopt(argc, argv, "l:d:t:c:")) != -1;) {
		switch (c) {
		case 'l': log = optarg; break;
		case 'd': device = atoi(optarg); break;
		case 't': hold_ms = atol(optarg); break;
		case 'c': library = optarg; break;
		default:
			fprintf(stderr, "usage: %s [-l LOG] [-d DEVICE] [-t HOLD_MS] [-c LIBCUDA]\n", argv[0]);
			return 2;
		}
	}
	out = fopen(log, "w");
	if (!out) {
		perror(log);
		return 1;
	}
	cuda_load(&cuda, library);
	open_device(device);
	work();
	cuda_check(cuda.cuDevicePrimaryCtxRelease(device), "release the context");
	return fclose(out) ? 1 : 0;
}
