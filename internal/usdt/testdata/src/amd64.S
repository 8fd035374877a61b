/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

	.data
	.globl exported
	.type exported, @object
exported: .quad 1, 2, 3
	.size exported, 24
	.type local, @object
local:	.quad 4
	.size local, 8

	.text
	.globl _start
_start:
	probe site0, two__sites, semaphore0, "8@%rax -4@-20(%rbp)"
	probe site1, two__sites, semaphore1, "8@(%rdi,%rsi,8) -4@$-7"
	probe site2, none, 0, ""
	probe site3, base__zero, 0, "8@%rdi", 0
	probe site4, twelve, 0, "1@%al 1@%ah 2@%ax 4@%eax 8@%rax -1@%r8b -2@%r8w -4@%r8d -8@%r8 1@$1 -2@$-2 4@8(%rsp)"
	probe site5, thirteen, 0, "1@$0 1@$1 1@$2 1@$3 1@$4 1@$5 1@$6 1@$7 1@$8 1@$9 1@$10 1@$11 1@$12"
	probe site6, symbols, 0, "8@exported(%rip) 8@8+exported(%rip) 8@exported+16(%rip) 8@local(%rip)"
	probe site7, bad, 0, "8f@%xmm0 8@%rax nonsense 8@%rbx"
	.globl site8
site8:	nop
	.byte 0x66, 0x2e, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0
	sdtnote site8, nop1__then__nop10, 0, ""
	.globl site9
site9:	.byte 0x66, 0x2e, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0
	sdtnote site9, nop10, 0, ""
	.globl site10
site10:	.byte 0x0f, 0x1f, 0x44, 0, 0
	sdtnote site10, nop5, 0, ""
	.globl site11
site11:	ret
	sdtnote site11, other, 0, ""

	semaphore semaphore0
	semaphore semaphore1
	.section .note.GNU-stack, "", @progbits
