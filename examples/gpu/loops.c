// SPDX-License-Identifier: Apache-2.0
//
// Runs short phases back to back, each of which moves a known amount of GPU memory,
// and logs what was in use at every boundary, so that `make gpu-check` can tell
// which of phasetrace's figures are true.
//
//     loops [-l LOG] [-d DEVICE] [-c LIBCUDA] [-n THREADS] [-r ROUNDS] [-t PHASE_US]
//           [-g GAP_US] [-p start|middle|end] [-a MIB] [-k MIB] [-b HOLD_MS]
//
// Each thread repeats: step { forward takes -a MiB, optimizer takes -k MiB and keeps
// them, zero_grad frees what forward took }. The phases take -t µs and move memory
// at their start, in their middle or at their end; between them pass -g µs. Before
// that, the phase baseline shows for HOLD_MS what is in use with nothing allocated.
//
// LOG gets one JSON object a line: first the device, then the boundaries of each
// thread in order. Both sizes should be multiples of 2 MiB: drivers round up to
// that.

#define _GNU_SOURCE
#include "cuda.h"
#include "phasetrace.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MIB ((uint64_t)1 << 20)
#define MAX_THREADS 64
#define BOUNDARIES 8 // of a round

static struct cuda cuda;
static CUcontext context;

static struct {
	long threads, rounds, phase_us, gap_us, hold_ms;
	uint64_t forward, keep; // bytes
	double where;           // in a phase, 0: at its start, 1: at its end
} options = {1, 12, 20000, 0, 20, 300 * MIB, 40 * MIB, 0.5};

// What all threads have allocated, in bytes. It changes between the two counts
// of a call: while they are equal, it is what the device has in use.
static uint64_t total, begun, ended;

// boundary is one pass of a marker. No call was under way from before_ns to
// after_ns if ended, loaded first, and begun, loaded last, are equal.
struct boundary {
	const char *phase; // NULL: step itself
	int exit;
	uint64_t ended, before, before_ns, after_ns, after, begun;
};

struct thread {
	pthread_t handle;
	pid_t tid;
	int number;
	CUdeviceptr *kept;
	struct boundary *log;
	size_t logged;
};

static pthread_barrier_t start;

static uint64_t load(uint64_t *p) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); }
static void add(uint64_t *p, uint64_t n) { __atomic_add_fetch(p, n, __ATOMIC_SEQ_CST); }

static CUdeviceptr take(uint64_t bytes)
{
	CUdeviceptr p;
	add(&begun, 1);
	cuda_check(cuda.cuMemAlloc(&p, bytes), "allocate");
	add(&total, bytes);
	add(&ended, 1);
	return p;
}

static void give(CUdeviceptr p, uint64_t bytes)
{
	add(&begun, 1);
	cuda_check(cuda.cuMemFree(p), "free");
	add(&total, -bytes);
	add(&ended, 1);
}

static void sleep_until(uint64_t ns)
{
	struct timespec ts = {(time_t)(ns / 1000000000), (long)(ns % 1000000000)};
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL))
		;
}

static void hold(void) { sleep_until(now_ns() + (uint64_t)options.hold_ms * 1000000); }

// gap spins: a sleep would take longer than the shortest gaps.
static void gap(void)
{
	for (uint64_t until = now_ns() + (uint64_t)options.gap_us * 1000; options.gap_us && now_ns() < until;)
		;
}

// mark passes a marker and notes what was in use. It returns the token.
static uint64_t mark(struct thread *t, const char *phase, int exit, uint64_t token)
{
	struct boundary *b = &t->log[t->logged++];
	const char *name = phase ? phase : "step";

	b->phase = phase;
	b->exit = exit;
	b->ended = load(&ended);
	b->before = load(&total);
	b->before_ns = now_ns();
	if (exit)
		phasetrace_exit(token, name);
	else
		token = phasetrace_enter(name);
	b->after_ns = now_ns();
	b->after = load(&total);
	b->begun = load(&begun);
	return token;
}

enum what { FORWARD, OPTIMIZER, ZERO_GRAD };

static void phase(struct thread *t, enum what what, CUdeviceptr *activations, long round)
{
	static const char *const names[] = {"forward", "optimizer", "zero_grad"};
	uint64_t token = mark(t, names[what], 0, 0);
	uint64_t entered = now_ns(), length = (uint64_t)options.phase_us * 1000;

	if (options.where > 0)
		sleep_until(entered + (uint64_t)(options.where * (double)length));
	switch (what) {
	case FORWARD: *activations = take(options.forward); break;
	case OPTIMIZER: t->kept[round] = take(options.keep); break;
	case ZERO_GRAD: give(*activations, options.forward); break;
	}
	if (options.where < 1)
		sleep_until(entered + length);
	mark(t, names[what], 1, token);
	gap();
}

static void *work(void *arg)
{
	struct thread *t = arg;
	CUdeviceptr activations = 0;

	t->tid = gettid();
	cuda_check(cuda.cuCtxSetCurrent(context), "use the context");
	pthread_barrier_wait(&start);
	// The threads are out of step.
	sleep_until(now_ns() + (uint64_t)t->number * (uint64_t)options.phase_us * 370);
	for (long i = 0; i < options.rounds; i++) {
		uint64_t token = mark(t, NULL, 0, 0);
		gap();
		for (enum what w = FORWARD; w <= ZERO_GRAD; w++)
			phase(t, w, &activations, i);
		mark(t, NULL, 1, token);
	}
	return NULL;
}

// allocate returns zeroed memory that is there: no page faults later.
static void *allocate(size_t n, size_t size)
{
	void *p = malloc(n * size);
	if (!p) {
		fprintf(stderr, "allocate memory for the log: run fewer rounds\n");
		exit(1);
	}
	return memset(p, 0, n * size);
}

static void run(struct thread *threads)
{
	size_t rounds = (size_t)options.rounds;

	pthread_barrier_init(&start, NULL, (unsigned)options.threads);
	for (int i = 0; i < options.threads; i++) {
		struct thread *t = &threads[i];
		t->number = i;
		t->kept = allocate(rounds, sizeof *t->kept);
		t->log = allocate(rounds * BOUNDARIES, sizeof *t->log);
		if (pthread_create(&t->handle, NULL, work, t)) {
			fprintf(stderr, "start a thread: run fewer\n");
			exit(1);
		}
	}
	for (int i = 0; i < options.threads; i++)
		pthread_join(threads[i].handle, NULL);
	hold(); // so that the last boundary has a read after it
	for (int i = 0; i < options.threads; i++)
		for (size_t k = 0; k < rounds; k++)
			give(threads[i].kept[k], options.keep);
}

static void report(FILE *out, const struct thread *t)
{
	for (size_t i = 0; i < t->logged; i++) {
		const struct boundary *b = &t->log[i];
		fprintf(out, "{\"thread\":%d,\"path\":[\"step\"", (int)t->tid);
		if (b->phase)
			fprintf(out, ",\"%s\"", b->phase);
		fprintf(out,
			"],\"exit\":%s,\"before_ns\":%" PRIu64 ",\"after_ns\":%" PRIu64 ",\"before_bytes\":%" PRIu64
			",\"after_bytes\":%" PRIu64 ",\"calls_ended\":%" PRIu64 ",\"calls_begun\":%" PRIu64 "}\n",
			b->exit ? "true" : "false", b->before_ns, b->after_ns, b->before, b->after, b->ended, b->begun);
	}
}

static int set_where(const char *name)
{
	static const char *const names[] = {"start", "middle", "end"};
	for (int i = 0; i < 3; i++)
		if (!strcmp(name, names[i])) {
			options.where = i / 2.0;
			return 1;
		}
	return 0;
}

static int parse(int argc, char **argv, const char **log, const char **library, int *device)
{
	int good = 1;
	for (int c; (c = getopt(argc, argv, "l:d:c:n:r:t:g:p:a:k:b:")) != -1;) {
		switch (c) {
		case 'l': *log = optarg; break;
		case 'd': *device = atoi(optarg); break;
		case 'c': *library = optarg; break;
		case 'n': options.threads = atol(optarg); break;
		case 'r': options.rounds = atol(optarg); break;
		case 't': options.phase_us = atol(optarg); break;
		case 'g': options.gap_us = atol(optarg); break;
		case 'p': good &= set_where(optarg); break;
		case 'a': options.forward = (uint64_t)atol(optarg) * MIB; break;
		case 'k': options.keep = (uint64_t)atol(optarg) * MIB; break;
		case 'b': options.hold_ms = atol(optarg); break;
		default: good = 0;
		}
	}
	good &= options.threads > 0 && options.threads <= MAX_THREADS && options.rounds > 0 &&
		options.phase_us >= 0 && options.gap_us >= 0 && options.hold_ms >= 0 && options.forward && options.keep;
	if (!good)
		fprintf(stderr,
			"usage: %s [-l LOG] [-d DEVICE] [-c LIBCUDA] [-n THREADS (1 to %d)] [-r ROUNDS] [-t PHASE_US]\n"
			"       [-g GAP_US] [-p start|middle|end] [-a MIB] [-k MIB] [-b HOLD_MS]\n",
			argv[0], MAX_THREADS);
	return good;
}

int main(int argc, char **argv)
{
	const char *log = "/dev/stdout", *library = NULL;
	static struct thread threads[MAX_THREADS];
	int ordinal = 0;

	if (!parse(argc, argv, &log, &library, &ordinal))
		return 2;
	FILE *out = fopen(log, "w");
	if (!out) {
		perror(log);
		return 1;
	}
	cuda_load(&cuda, library);
	CUdevice device = cuda_open(&cuda, ordinal, out);
	cuda_check(cuda.cuDevicePrimaryCtxRetain(&context, device), "make a context");
	cuda_check(cuda.cuCtxSetCurrent(context), "use the context");
	give(take(options.forward), options.forward); // it can make the driver take memory for itself
	hold();
	uint64_t token = phasetrace_enter("baseline");
	hold();
	phasetrace_exit(token, "baseline");
	hold();
	run(threads);
	for (int i = 0; i < options.threads; i++)
		report(out, &threads[i]);
	cuda_check(cuda.cuDevicePrimaryCtxRelease(device), "release the context");
	return fclose(out) ? 1 : 0;
}
