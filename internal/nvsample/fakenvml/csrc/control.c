// SPDX-License-Identifier: Apache-2.0

#include "control.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

__attribute__((visibility("hidden"))) struct fake_control *fake_attach(void)
{
	static struct fake_control *control;
	struct fake_control *c = __atomic_load_n(&control, __ATOMIC_ACQUIRE);
	if (c)
		return c;
	const char *path = getenv(FAKE_ENV);
	if (!path)
		return NULL;
	int fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	void *p = mmap(NULL, sizeof *c, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (p == MAP_FAILED || ((struct fake_control *)p)->magic != FAKE_MAGIC)
		return NULL;
	__atomic_store_n(&control, p, __ATOMIC_RELEASE);
	return p;
}
