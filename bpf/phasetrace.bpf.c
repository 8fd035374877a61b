//go:build ignore

/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * One hit of a marker: fetch the arguments as the site's spec says, bring the
 * thread's state forward, put one record into the ring buffer.
 *
 * Knows sites, threads and processes; nothing of phases or of how pairs are
 * named.
 *
 * No function that a uprobe runs may have more than 48 bytes of stack. From Linux
 * 6.13 on, functions with 64 and more get one that belongs to the CPU, not to the
 * task (BPF_PRIV_STACK_MIN_SIZE in kernel/bpf/verifier.c): two threads that hit
 * such a program write over each other's when one sleeps or is preempted in it.
 * What needs more room is kept in the thread's own memory. internal/loader tests
 * every program it loads.
 */
#include "kernel.h"
#include "event.h"
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "Dual MIT/GPL";

/* Set by the loader before loading. */
const volatile __u8 sleepable = 0;	  /* may sleep until memory is present */
const volatile __u8 filter_processes = 0; /* attached without a PID: look at targets */
const volatile __u8 follow_forks = 0;
const volatile __u8 on_arm64 = 0;
const volatile __u8 want_executables = 0; /* wanted has some */

#include "ring.h"

/* Types of event.h reach the Go side through BTF only when something global uses them. */
const struct fork_record *unused_fork_record __attribute__((unused));
const struct exec_record *unused_exec_record __attribute__((unused));
const struct process_exit_record *unused_process_exit_record __attribute__((unused));
const struct ring_header *unused_ring_header __attribute__((unused));
const struct string_slot *unused_string_slot __attribute__((unused));
const enum site_role *unused_site_role __attribute__((unused));
const enum record_type *unused_record_type __attribute__((unused));
const enum string_flag *unused_string_flag __attribute__((unused));
const enum cookie_bits *unused_cookie_bits __attribute__((unused));
const struct constant_slot *unused_constant_slot __attribute__((unused));
const enum drop_counter *unused_drop_counter __attribute__((unused));

/* Where the thread is: pt_regs.ip of x86-64, user_pt_regs.pc of arm64. */
static __always_inline __u64 instruction(void *ctx)
{
	__u64 at;

	/* The verifier wants an offset that is a constant in each instruction. */
	if (on_arm64)
		asm volatile("%0 = *(u64 *)(%1 + 256)" : "=r"(at) : "r"(ctx));
	else
		asm volatile("%0 = *(u64 *)(%1 + 128)" : "=r"(at) : "r"(ctx));
	return at;
}

#include "thread.h"
#include "absent.h"
#include "fetch.h"

static __always_inline __u32 resident_pages(struct mm_struct *mm)
{
	struct mm_struct___old *old = (void *)mm;

	if (bpf_core_field_exists(old->rss_stat.count)) {
		return BPF_CORE_READ(old, rss_stat.count[MM_FILEPAGES].counter) +
		       BPF_CORE_READ(old, rss_stat.count[MM_ANONPAGES].counter) +
		       BPF_CORE_READ(old, rss_stat.count[MM_SHMEMPAGES].counter);
	}
	return mm->rss_stat[MM_FILEPAGES].count + mm->rss_stat[MM_ANONPAGES].count +
	       mm->rss_stat[MM_SHMEMPAGES].count;
}

/* Counts the marker in its lane; rec->low is the lane's lowest depth before it.
 * NULL for one that takes no part in depths.
 */
static __always_inline struct lane_state *advance(struct marker_record *rec, struct thread_state *st,
						  __u8 lane, __u8 type)
{
	struct lane_state *ls;

	if (lane >= MAX_LANES || type == RECORD_POINT) {
		rec->depth = 0;
		rec->low = 0;
		return NULL;
	}
	ls = &st->lanes[lane];
	rec->low = ls->low;
	ls->depth += type == RECORD_ENTER ? 1 : -1;
	if (ls->depth < ls->low)
		ls->low = ls->depth;
	rec->depth = ls->depth;
	return ls;
}

static __always_inline void fill(struct marker_record *rec, struct task_struct *task)
{
	rec->voluntary_switches = task->nvcsw;
	rec->involuntary_switches = task->nivcsw;
	rec->minor_faults = task->min_flt;
	rec->major_faults = task->maj_flt;
	rec->rss_pages = resident_pages(task->mm);
}

/*
 * The clock comes first: reading it waits for all that was begun before. The ring's
 * memory, which the reader has touched last, takes longest to come; it is asked for
 * next, and everything else is done meanwhile.
 */
SEC("uprobe")
int marker(void *ctx)
{
	__u64 now = bpf_ktime_get_ns();
	struct ring_header *r = ring_bytes ? cpu_ring() : NULL;
	struct task_struct *task = bpf_get_current_task_btf();
	struct thread_state *st;
	struct lane_state *ls;
	__u64 cookie;

	if (r)
		approach(r);
	st = current_state(task);
	cookie = bpf_get_attach_cookie(ctx);
	if (!st)
		return 0;
	st->rec.time = now;
	st->rec.site = cookie & ((1U << COOKIE_SITE) - 1);
	find_constant(st, ctx, cookie);
	fetch_arguments(ctx, st, (cookie >> COOKIE_SITE) & ((1U << COOKIE_SPEC) - 1));
	ls = advance(&st->rec, st, st->rec.lane, st->rec.type);
	st->rec.seq = st->seq++;
	fill(&st->rec, task);
	if (!is_told(st, task) && tell_thread(st))
		return lose(DROP_MARKER);
	if (send_marker(st, r))
		return lose(DROP_MARKER);
	if (ls)
		ls->low = ls->depth;
	return 0;
}

/* The floor of every measurement: what the kernel's trap alone costs. */
SEC("uprobe")
int marker_empty(void *ctx)
{
	return 0;
}

/* Loads where rings of our own can be used: an exchange that tells what was there. */
SEC("uprobe")
int exchange(void *ctx)
{
	__u64 value = 1;

	return __sync_val_compare_and_swap(&value, 1, 2) + __sync_lock_test_and_set(&value, 3);
}

#include "hold.h"
#include "lifecycle.h"
#include "aggregate.h"
