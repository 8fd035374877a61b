/* SPDX-License-Identifier: Apache-2.0 */
/* The libraries of tokens.c: each raises its own semaphore. */
#include "phasetrace.h"

void library_tokens(uint64_t *to, int count);
void library_tokens(uint64_t *to, int count)
{
	phasetrace_enter_semaphore = 1;
	while (count-- > 0)
		*to++ = phasetrace_enter("library");
}
