/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

	.text
	.globl _start
_start:
	probe site0, two__sites, semaphore0, "8@x0 -4@[x29, -20]"
	probe site1, two__sites, semaphore1, "8@[x1, x2, lsl 3] -4@-7"
	probe site2, none, 0, ""
	probe site3, base__zero, 0, "8@x0", 0
	probe site4, twelve, 0, "8@x0 -8@x30 4@w1 -4@x2 8@sp 8@xzr -4@wzr 8@[sp] 8@[sp, 60] 8@[x0, x1] 4@5 -4@#-5"
	probe site5, thirteen, 0, "1@0 1@1 1@2 1@3 1@4 1@5 1@6 1@7 1@8 1@9 1@10 1@11 1@12"
	probe site6, bad, 0, "8f@d0 8@x0 8@[x0, w1, sxtw 2] 8@[x0, 8]"
	.globl site7
site7:	ret
	sdtnote site7, other, 0, ""

	semaphore semaphore0
	semaphore semaphore1
	.section .note.GNU-stack, "", %progbits
