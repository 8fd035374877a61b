/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program that traces itself, without privileges: selftrace puts a breakpoint
 * on each site named in argv (hexadecimal addresses, as in the notes; build
 * with -no-pie), raises the semaphores, and from then on a line of standard
 * output tells each hit, out of the registers that the notes name:
 *
 *     enter TOKEN NAME ATTRS RANK
 *     exit TOKEN NAME
 */
#ifndef SELFTRACE_H
#define SELFTRACE_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "phasetrace.h"

static struct selftrace_site {
	uintptr_t address;
	int is_enter;
} selftrace_sites[64];
static int selftrace_count;

static const char *selftrace_text(uintptr_t p) { return p ? (const char *)p : "NULL"; }

static void selftrace_hit(int signal, siginfo_t *info, void *context)
{
	const greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
	uintptr_t at = (uintptr_t)r[REG_RIP] - 1;
	char line[256];
	int i, n;
	(void)signal;
	(void)info;
	for (i = 0; i < selftrace_count && selftrace_sites[i].address != at; i++)
		;
	if (i == selftrace_count)
		abort();
	if (selftrace_sites[i].is_enter)
		n = snprintf(line, sizeof line, "enter %" PRIu64 " %s %s %d\n", (uint64_t)r[REG_RDI],
		             selftrace_text((uintptr_t)r[REG_RSI]), selftrace_text((uintptr_t)r[REG_RDX]), (int)r[REG_RCX]);
	else
		n = snprintf(line, sizeof line, "exit %" PRIu64 " %s\n", (uint64_t)r[REG_RDI],
		             selftrace_text((uintptr_t)r[REG_RSI]));
	if (write(STDOUT_FILENO, line, (size_t)n) != n)
		abort();
}

/* argv: "enter" or "exit", address, and so on. */
static void selftrace_prepare(int argc, char **argv)
{
	struct sigaction action;
	int i;
	memset(&action, 0, sizeof action);
	action.sa_sigaction = selftrace_hit;
	action.sa_flags = SA_SIGINFO;
	if (sigaction(SIGTRAP, &action, NULL))
		abort();
	for (i = 1; i + 1 < argc; i += 2) {
		struct selftrace_site *s = &selftrace_sites[selftrace_count++];
		uintptr_t page;
		s->address = (uintptr_t)strtoull(argv[i + 1], NULL, 16);
		s->is_enter = !strcmp(argv[i], "enter");
		page = s->address & ~(uintptr_t)4095;
		if (mprotect((void *)page, 8192, PROT_READ | PROT_WRITE | PROT_EXEC))
			abort();
		if (*(unsigned char *)s->address != 0x90)
			abort();
		*(unsigned char *)s->address = 0xcc;
	}
}

static void selftrace_attach(void)
{
	phasetrace_enter_semaphore = 1;
	phasetrace_exit_semaphore = 1;
}

#endif
