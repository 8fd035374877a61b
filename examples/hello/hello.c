/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The smallest program with phases.
 *
 *     cc -I markers/c -o hello examples/hello/hello.c
 *     sudo phasetrace run -- ./hello
 */
#include <stdio.h>

#include "phasetrace.h"

int main(void)
{
	uint64_t hello = phasetrace_enter("hello");
	for (int i = 0; i < 3; i++) {
		uint64_t greet = phasetrace_enter("greet");
		printf("hello, world\n");
		phasetrace_exit(greet, "greet");
	}
	phasetrace_exit(hello, "hello");
	return 0;
}
