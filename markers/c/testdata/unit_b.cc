// SPDX-License-Identifier: Apache-2.0
#include "units.h"

int other_unit(int n)
{
	PHASETRACE_SCOPE("unit b");
	return folded(n) + folded_too(n);
}
