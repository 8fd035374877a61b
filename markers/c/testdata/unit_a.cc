// SPDX-License-Identifier: Apache-2.0
#include "units.h"

int main(int argc, char **)
{
	uint64_t t = phasetrace_enter("unit a");
	int n = folded(argc) + folded_too(argc) + other_unit(argc);
	phasetrace_exit(t, "unit a");
	return n == 0;
}
