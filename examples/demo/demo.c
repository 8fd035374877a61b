/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A toy training job, to be traced: two loader threads read and decode
 * batches, a trainer thread takes them through the steps of an epoch.
 *
 *     cc -O2 -pthread -I markers/c -o demo examples/demo/demo.c
 *     sudo phasetrace run -- ./demo        or: sudo phasetrace -p PID
 *
 * demo [EPOCHS [STEPS]]: 3 epochs of 8 steps take about three seconds.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "phasetrace.h"

enum { LOADERS = 2, QUEUE = 3 };

static int epochs = 3, steps = 8;

/* The queue of decoded batches between the loaders and the trainer. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int started, ready, taken; /* batches: begun, in the queue, out of it again */
} queue = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0, 0};

/* A time near ms: some pieces of work are harder than others, in a fixed pattern. */
static void work(int ms, int piece)
{
	long us = ms * (700L + 600L * (piece * 7 % 11) / 10);
	struct timespec t = {us / 1000000, us % 1000000 * 1000};
	nanosleep(&t, NULL);
}

/* compute keeps a core busy for about a millisecond: decoding is real work. */
static unsigned compute(unsigned x)
{
	for (int i = 0; i < 1000000; i++)
		x = x * 1664525u + 1013904223u;
	return x;
}

/* A JSON object with one number, in buffer. Only called while somebody traces. */
static const char *attribute(char buffer[64], const char *key, int value)
{
	snprintf(buffer, 64, "{\"%s\":%d}", key, value);
	return buffer;
}

/* The number of the batch to load next, or -1 when there are no more. */
static int next_batch(void)
{
	pthread_mutex_lock(&queue.lock);
	while (queue.started < epochs * steps && queue.started - queue.taken >= QUEUE)
		pthread_cond_wait(&queue.changed, &queue.lock);
	int batch = queue.started < epochs * steps ? queue.started++ : -1;
	pthread_mutex_unlock(&queue.lock);
	return batch;
}

static void *loader(void *name)
{
	char buffer[64];
	unsigned sum = 1;

	pthread_setname_np(pthread_self(), name);
	for (int batch; (batch = next_batch()) >= 0;) {
		uint64_t data = phasetrace_enter_attrs("data", attribute(buffer, "batch", batch));

		uint64_t read = phasetrace_enter("read");
		work(30, batch);
		phasetrace_exit(read, "read");

		uint64_t decode = phasetrace_enter("decode");
		work(60, batch);
		sum = compute(sum);
		phasetrace_exit(decode, "decode");

		pthread_mutex_lock(&queue.lock);
		queue.ready++;
		pthread_cond_broadcast(&queue.changed);
		pthread_mutex_unlock(&queue.lock);
		phasetrace_exit(data, "data");
	}
	return sum ? name : NULL;
}

static void take_batch(void)
{
	uint64_t wait = phasetrace_enter("wait");
	pthread_mutex_lock(&queue.lock);
	while (!queue.ready)
		pthread_cond_wait(&queue.changed, &queue.lock);
	queue.ready--;
	queue.taken++;
	pthread_cond_broadcast(&queue.changed);
	pthread_mutex_unlock(&queue.lock);
	phasetrace_exit(wait, "wait");
}

static void step(int number)
{
	char buffer[64];
	uint64_t step = phasetrace_enter_attrs("step", attribute(buffer, "step", number));
	take_batch();

	uint64_t forward = phasetrace_enter("forward");
	work(30, number);
	phasetrace_exit(forward, "forward");

	uint64_t backward = phasetrace_enter("backward");
	work(50, number);
	phasetrace_exit(backward, "backward");

	uint64_t optimizer = phasetrace_enter("optimizer");
	work(10, number);
	phasetrace_exit(optimizer, "optimizer");
	phasetrace_exit(step, "step");
}

static void *trainer(void *name)
{
	pthread_setname_np(pthread_self(), name);
	uint64_t train = phasetrace_enter_attrs("train", "{\"model\":\"toy\"}");
	for (int e = 1; e <= epochs; e++) {
		char buffer[64];
		uint64_t epoch = phasetrace_enter_attrs("epoch", attribute(buffer, "epoch", e));
		for (int s = 1; s <= steps; s++)
			step(s);
		uint64_t checkpoint = phasetrace_enter("checkpoint");
		work(80, e);
		phasetrace_exit(checkpoint, "checkpoint");
		phasetrace_exit(epoch, "epoch");
	}
	phasetrace_exit(train, "train");
	return name;
}

static void start(pthread_t *thread, void *(*run)(void *), char *name)
{
	if (pthread_create(thread, NULL, run, name)) {
		perror("demo: cannot start a thread");
		exit(1);
	}
}

int main(int argc, char **argv)
{
	static char names[LOADERS + 1][16] = {"loader-0", "loader-1", "trainer"};
	pthread_t threads[LOADERS + 1];

	if (argc > 1)
		epochs = atoi(argv[1]);
	if (argc > 2)
		steps = atoi(argv[2]);
	printf("demo: pid %d trains %d epochs of %d steps\n", (int)getpid(), epochs, steps);
	fflush(stdout);
	for (int i = 0; i <= LOADERS; i++)
		start(&threads[i], i < LOADERS ? loader : trainer, names[i]);
	for (int i = 0; i <= LOADERS; i++)
		pthread_join(threads[i], NULL);
	printf("demo: done\n");
	return 0;
}
