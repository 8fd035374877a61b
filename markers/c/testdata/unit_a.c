/* SPDX-License-Identifier: Apache-2.0 */
#include "units.h"

/* Not static: only --gc-sections can drop it. */
int never_called(int n);
int never_called(int n)
{
	uint64_t t = phasetrace_enter("never called");
	phasetrace_exit(t, "never called");
	return n;
}

int main(int argc, char **argv)
{
	uint64_t t = phasetrace_enter("unit a");
	int n = other_unit(argc);
	(void)argv;
	phasetrace_exit(t, "unit a");
	return n == 0;
}
