/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tokens LIBRARY...
 *
 * Loads each library (tokenlib.c) privately and takes 20000 tokens from each,
 * and from the program, in each of 4 threads. Writes them to standard output,
 * a number a line. The programs' tracer is simulated: semaphores are raised.
 */
#include <dlfcn.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "phasetrace.h"

enum { THREADS = 4, EACH = 20000, FILES = 8 };

typedef void tokens_function(uint64_t *, int);
static tokens_function *functions[FILES];
static int files;
static uint64_t tokens[THREADS][FILES][EACH];

static void own_tokens(uint64_t *to, int count)
{
	while (count-- > 0)
		*to++ = phasetrace_enter("own");
}

static void *work(void *arg)
{
	uint64_t (*mine)[EACH] = arg;
	int i;
	for (i = 0; i < files; i++)
		functions[i](mine[i], EACH);
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t threads[THREADS];
	int i, j, k;

	phasetrace_enter_semaphore = 1;
	functions[files++] = own_tokens;
	for (i = 1; i < argc && files < FILES; i++) {
		void *library = dlopen(argv[i], RTLD_NOW | RTLD_LOCAL);
		void *symbol = library ? dlsym(library, "library_tokens") : NULL;
		if (!symbol) {
			fprintf(stderr, "%s\n", dlerror());
			return 1;
		}
		memcpy(&functions[files++], &symbol, sizeof symbol);
	}
	for (i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, work, tokens[i]))
			return 1;
	for (i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (i = 0; i < THREADS; i++)
		for (j = 0; j < files; j++)
			for (k = 0; k < EACH; k++)
				printf("%" PRIu64 "\n", tokens[i][j][k]);
	return 0;
}
