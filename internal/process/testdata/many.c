// SPDX-License-Identifier: Apache-2.0
// A program with some sixty thousand mappings.
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

int main(void)
{
	long page = sysconf(_SC_PAGESIZE);
	char *p = mmap(0, page * 60000, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (long i = 0; i < 60000; i += 2)
		mprotect(p + i * page, page, PROT_NONE);
	printf("marker 0\nready %d\n", getpid());
	fflush(stdout);
	return getchar() == 'x';
}
