// SPDX-License-Identifier: Apache-2.0

#include "textflag.h"

// func enter(text *byte)
TEXT ·enter(SB), NOSPLIT|NOFRAME, $0-8
	MOVQ text+0(FP), DI
	BYTE $0x90 // nop: the assembler's own could be optimised
	RET

// func exit()
TEXT ·exit(SB), NOSPLIT|NOFRAME, $0-0
	BYTE $0x90
	RET

// func bareEnter(text *byte)
TEXT ·bareEnter(SB), NOSPLIT|NOFRAME, $0-8
	MOVQ text+0(FP), DI
	BYTE $0x90
	RET

// func bareExit()
TEXT ·bareExit(SB), NOSPLIT|NOFRAME, $0-0
	BYTE $0x90
	RET

// func enterAddress() uintptr
TEXT ·enterAddress(SB), NOSPLIT, $0-8
	LEAQ ·enter(SB), AX
	MOVQ AX, ret+0(FP)
	RET

// func exitAddress() uintptr
TEXT ·exitAddress(SB), NOSPLIT, $0-8
	LEAQ ·exit(SB), AX
	MOVQ AX, ret+0(FP)
	RET
