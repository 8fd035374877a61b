/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Phases counted where they happen: no record per boundary. A thread keeps its
 * open scopes in its own memory; a scope that ends is added to the figures of
 * its path, which user space reads when it likes.
 *
 * A path is a node: a name below a parent. The nodes below 0 are processes, so
 * every process has paths of its own. Figures lie in cells, several to a path
 * so that threads need not share one, and their histograms in blocks of one
 * octave, which are taken when the first duration falls into them. Everything
 * is an array of fixed size; what finds no room is counted.
 *
 * Functions that are not static are verified once, not once a call; those that
 * may sleep, or look st->key up (before Linux 6.2), have to be static.
 *
 * Knows sites, pairs by number, threads and processes; nothing of what pairs
 * are called. The rules of nesting are those of internal/engine, as far as one
 * thread can judge.
 */
#ifndef PHASETRACE_AGGREGATE_H
#define PHASETRACE_AGGREGATE_H

#include "aggregate_state.h"
#include "aggregate_path.h"
#include "aggregate_count.h"
#include "aggregate_scope.h"

/* Cells of its own for a thread; 0 when all are taken. Bit n is slot n + 1. */
static __always_inline __u32 take_slot(struct aggregate_totals *totals)
{
	__u64 used = totals->slots, bit, seen;
	int i;

	for (i = 0; i < 8; i++) {
		bit = ~used & -~used; /* the lowest that is free */
		if (!bit || bit >= 1ULL << (AGG_SHARDS - 1))
			return 0;
		seen = __sync_val_compare_and_swap(&totals->slots, used, used | bit);
		if (seen == used)
			return bit_length(bit);
		used = seen;
	}
	return 0;
}

static __noinline struct aggregate_state *admit(struct task_struct *task)
{
	struct aggregate_totals *totals = aggregate_totals();
	struct aggregate_process *who;
	struct aggregate_state *st;

	if (!totals || (filter_processes && !is_target(task)))
		return NULL;
	st = bpf_task_storage_get(&agg_threads, task, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!st) {
		__sync_fetch_and_add(&totals->no_state, 1);
		lose(DROP_NO_STATE);
		return NULL;
	}
	if (st->start_time)
		return st; /* it was there, and could not be looked up for a moment */
	st->start_time = BPF_CORE_READ(task, start_boottime);
	st->slot = take_slot(totals);
	st->key.literal = LITERAL_PROCESS;
	st->key.len = st->dirty = sizeof(*who);
	who = (void *)st->key.name;
	who->start_time = BPF_CORE_READ(task, group_leader, start_boottime);
	who->tgid = BPF_CORE_READ(task, tgid);
	who->view_tgid = view_tgid(task);
	st->root = find_node(st);
	return st;
}

SEC("uprobe")
int marker_aggregate(void *ctx)
{
	__u64 now = bpf_ktime_get_ns();
	struct task_struct *task = bpf_get_current_task_btf();
	__u64 cookie = bpf_get_attach_cookie(ctx);
	struct aggregate_state *st;
	struct aggregate_site *site;
	__u32 id = cookie & ((1U << COOKIE_SITE) - 1), zero = 0;
	struct aggregate_end *end;

	site = bpf_map_lookup_elem(&agg_sites, &id);
	end = bpf_map_lookup_elem(&agg_end, &zero);
	if (!site || !end)
		return 0;
	st = bpf_task_storage_get(&agg_threads, task, 0, 0);
	if (!st)
		st = admit(task);
	if (!st)
		return 0;
	st->now = now;
	if (st->changes != end->changes) {
		st->changes = end->changes;
		end_removed(st);
	}
	if (!site->arrival || site->arrival > st->changes || removed(site, st->changes) ||
	    now < site->gate || now >= end->until) {
		AGG_COUNT(outside);
		return 0;
	}
	if (!site->hit)
		site->hit = 1;
	st->site = id;
	fetch_arguments(ctx, (struct thread_state *)st, (cookie >> COOKIE_SITE) & ((1U << COOKIE_SPEC) - 1));
	if (site->over)
		reset_scopes(st, site->over);
	else if (site->role == ROLE_ENTER)
		enter_scope(st, site, instruction(ctx));
	else
		exit_scope(st, site);
	return 0;
}

/* A thread that ends leaves its slot, and what it has counted in there, to another. */
SEC("tp_btf/sched_process_exit")
int BPF_PROG(aggregate_exit, struct task_struct *task)
{
	struct aggregate_state *st = bpf_task_storage_get(&agg_threads, task, 0, 0);
	struct aggregate_totals *totals = aggregate_totals();
	__u64 used, seen;
	int i;

	if (!st || !totals || !st->slot || st->slot >= AGG_SHARDS)
		return 0;
	used = totals->slots;
	for (i = 0; i < 32; i++) { /* beyond that the slot stays taken */
		seen = __sync_val_compare_and_swap(&totals->slots, used, used & ~(1ULL << (st->slot - 1)));
		if (seen == used)
			break;
		used = seen;
	}
	st->slot = 0;
	return 0;
}

/* What the old program had open is over. */
SEC("tp_btf/sched_process_exec")
int BPF_PROG(aggregate_exec, struct task_struct *task)
{
	struct aggregate_state *st = bpf_task_storage_get(&agg_threads, task, 0, 0);

	if (!st)
		return 0;
	__builtin_memset(st->top, 0, sizeof(st->top));
	__builtin_memset(st->over, 0, sizeof(st->over));
	__builtin_memset(st->late, 0, sizeof(st->late));
	st->late_used = st->used = st->free = 0;
	return 0;
}

#endif
