/* SPDX-License-Identifier: Apache-2.0 */
/* The example program, compiled in: the demo needs no compiler where it runs. */
#define main phasetrace_demo_main
#include "../../examples/demo/demo.c"
