/* SPDX-License-Identifier: Apache-2.0 */
/* What the two translation units of a program share. */
#include "phasetrace.h"

#ifdef __cplusplus
/* Compiled in both units and folded into one by the linker. */
inline __attribute__((noinline)) int folded(int n)
{
	PHASETRACE_SCOPE("folded");
	return n + 1;
}
template <typename T> __attribute__((noinline)) T folded_too(T n)
{
	uint64_t t = phasetrace_enter("folded too");
	phasetrace_exit(t, "folded too");
	return n + 1;
}
#endif

int other_unit(int n);
