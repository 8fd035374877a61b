/* SPDX-License-Identifier: Apache-2.0 */
/* Every macro once, in C and in C++; compiled under every flag, never run. */
#include "phasetrace.h"

#ifdef __cplusplus
#define NONE nullptr
#else
#define NONE 0
#endif

int everything(int n, const char *name);
int everything(int n, const char *name)
{
	uint64_t a = phasetrace_enter("a");
	uint64_t b = phasetrace_enter_attrs(n ? "b" : name, n > 1 ? "{\"n\":2}" : NONE);
	uint64_t c = phasetrace_enter_rank(name, NONE, n + 1);
	PHASETRACE_SCOPE("d");
	PHASETRACE_SCOPE_ATTRS(name, "{}");
	while (n-- > 0) {
		PHASETRACE_SCOPE("e");
		if (n == 5)
			break;
	}
	if (phasetrace_enabled())
		phasetrace_set_rank(n);
	phasetrace_exit(c, name);
	phasetrace_exit(b, "b");
	phasetrace_exit(a, "a");
	return n;
}

int main(int argc, char **argv) { return everything(argc, argv[0]) > 100; }
