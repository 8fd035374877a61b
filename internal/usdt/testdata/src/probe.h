/* SPDX-License-Identifier: Apache-2.0 */

/* A probe whose note says exactly what the test wants it to say, which no
   compiler does. */
.macro probe label, name, semaphore, args, base=_.stapsdt.base
	.globl \label
\label:
	nop
	sdtnote \label, \name, \semaphore, "\args", \base
.endm

.macro sdtnote label, name, semaphore, args, base=_.stapsdt.base
	.pushsection .note.stapsdt, "", %note
	.balign 4
	.4byte 8f - 7f, 9f - 8f, 3
7:	.asciz "stapsdt"
8:	.8byte \label, \base, \semaphore
	.asciz "fixture"
	.asciz "\name"
	.asciz "\args"
9:	.balign 4
	.popsection
.endm

.macro semaphore name
	.pushsection .probes, "aw", %progbits
	.balign 2
	.globl \name
\name:	.2byte 0
	.popsection
.endm

	.pushsection .stapsdt.base, "aG", %progbits, .stapsdt.base, comdat
	.weak _.stapsdt.base
	.hidden _.stapsdt.base
_.stapsdt.base:
	.space 1
	.size _.stapsdt.base, 1
	.popsection
