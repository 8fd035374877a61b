// SPDX-License-Identifier: Apache-2.0

#include "textflag.h"

// func marker()
TEXT ·marker(SB), NOSPLIT|NOFRAME, $0-0
	BYTE $0x90 // nop: the assembler's own could be optimised
	RET

// func markerAddress() uintptr
TEXT ·markerAddress(SB), NOSPLIT, $0-8
	LEAQ ·marker(SB), AX
	MOVQ AX, ret+0(FP)
	RET
