// SPDX-License-Identifier: Apache-2.0

#include "textflag.h"

// func enter(text *byte)
TEXT ·enter(SB), NOSPLIT|NOFRAME, $0-8
	MOVD text+0(FP), R0
	WORD $0xd503201f // nop
	RET

// func exit()
TEXT ·exit(SB), NOSPLIT|NOFRAME, $0-0
	WORD $0xd503201f
	RET

// func bareEnter(text *byte)
TEXT ·bareEnter(SB), NOSPLIT|NOFRAME, $0-8
	MOVD text+0(FP), R0
	WORD $0xd503201f
	RET

// func bareExit()
TEXT ·bareExit(SB), NOSPLIT|NOFRAME, $0-0
	WORD $0xd503201f
	RET

// func enterAddress() uintptr
TEXT ·enterAddress(SB), NOSPLIT, $0-8
	MOVD $·enter(SB), R0
	MOVD R0, ret+0(FP)
	RET

// func exitAddress() uintptr
TEXT ·exitAddress(SB), NOSPLIT, $0-8
	MOVD $·exit(SB), R0
	MOVD R0, ret+0(FP)
	RET
