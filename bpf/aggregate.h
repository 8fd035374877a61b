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
 * are called. The rules of nesting are those of internal/trace, as far as one
 * thread can judge.
 */
#ifndef PHASETRACE_AGGREGATE_H
#define PHASETRACE_AGGREGATE_H

#include "aggregate_state.h"
#include "aggregate_path.h"
#include "aggregate_count.h"

/* ---- scopes -------------------------------------------------------------- */

/* Takes the innermost scope of a lane off. Returns how long it was open, ns. */
static __always_inline __u64 pop(struct aggregate_state *st, __u32 lane)
{
	__u32 n = st->top[lane];
	struct aggregate_frame *f = frame_of(st, n);
	__u64 d = st->now - f->time;
	__u32 below = f->below;

	f->below = st->free;
	st->free = n;
	st->top[lane] = below;
	if (below)
		frame_of(st, below)->inner += d;
	return d;
}

/* A frame for a new scope; 0 when there is none. */
static __always_inline __u32 new_frame(struct aggregate_state *st)
{
	__u32 n = st->free;

	if (n) {
		st->free = frame_of(st, n)->below;
		return n;
	}
	if (st->used >= AGG_DEPTH)
		return 0;
	return ++st->used;
}

static __always_inline void wait_for(struct aggregate_state *st, struct aggregate_frame *f)
{
	struct aggregate_late *l = &st->late[st->late_next++ & (AGG_LATE - 1)];

	if (!l->pair)
		st->late_used++;
	l->token = f->token;
	l->pair = f->pair + 1;
}

/* Closes the scopes of a lane from the top down to above frame n; `wait`: their
 * own exits may still come.
 */
__noinline int unwind(struct aggregate_state *st, __u32 lane, __u32 n, __u32 wait)
{
	__u32 i, top;

	if (!st || lane >= MAX_LANES)
		return 0;
	for (i = 0; i < AGG_DEPTH; i++) {
		top = st->top[lane];
		if (!top || top == n)
			break;
		if (wait)
			wait_for(st, frame_of(st, top));
		pop(st, lane);
	}
	return 0;
}

/* Closes the outermost scope of a lane whose pair is in the mask, and what is
 * inside it.
 */
__noinline int drop_stale(struct aggregate_state *st, __u32 lane, __u64 mask)
{
	__u32 i, n, below = 0;
	bool found = false;

	if (!st || lane >= MAX_LANES)
		return 0;
	n = st->top[lane];
	for (i = 0; i < AGG_DEPTH; i++) {
		struct aggregate_frame *f;

		if (!n)
			break;
		f = frame_of(st, n);
		n = f->below;
		if (mask >> (f->pair & 63) & 1) {
			below = n;
			found = true;
		}
	}
	if (!found)
		return 0;
	unwind(st, lane, below, 0);
	st->over[lane] = 0;
	return 0;
}

/* Forgets exits of a pair without tokens: a new scope takes them from now on. */
__noinline int expire_late(struct aggregate_state *st, __u32 pair)
{
	__u32 i;

	if (!st)
		return 0;
	for (i = 0; i < AGG_LATE; i++) {
		if (st->late[i].pair == pair + 1) {
			st->late[i].pair = 0;
			st->late_used--;
		}
	}
	return 0;
}

__noinline int take_late(struct aggregate_state *st, struct aggregate_site *site, __u64 token)
{
	__u32 i, pair;
	bool any;

	if (!st || !site)
		return 0;
	pair = site->pair + 1U;
	any = !site->token;
	for (i = 0; i < AGG_LATE; i++) {
		struct aggregate_late *l = &st->late[i];

		if (l->pair != pair || !(any || l->token == token))
			continue;
		l->pair = 0;
		st->late_used--;
		return 1;
	}
	return 0;
}

/* Counts a break of strict nesting; found: the frame of the scope that was to
 * end, 0 for none.
 */
static __noinline int violate(struct aggregate_state *st, __u32 lane, __u32 found, __u32 kind)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct aggregate_defect_key *key;
	struct aggregate_defect *first, *d;
	struct aggregate_frame *f;

	AGG_COUNT(violations);
	if (kind != DEFECT_NOT_LIFO || aggregate_reject)
		AGG_COUNT(unclosed);
	if (!st || lane >= MAX_LANES)
		return 0;
	key = &st->defect_key;
	first = &st->defect;
	*key = (struct aggregate_defect_key){ .root = st->root, .site = st->site, .kind = kind };
	first->closing_start = 0;
	first->top_start = 0;
	if (found) {
		f = frame_of(st, found);
		key->closing = f->node;
		first->closing_start = f->time;
	}
	if (st->top[lane]) {
		f = frame_of(st, st->top[lane]);
		key->top = f->node;
		first->top_start = f->time;
	}
	d = bpf_map_lookup_elem(&agg_defects, key);
	if (!d) {
		first->count = 1;
		first->time = st->now;
		first->tid = BPF_CORE_READ(task, pid);
		first->view_tid = view_id(task);
		BPF_CORE_READ_INTO(&first->comm, task, comm);
		if (!bpf_map_update_elem(&agg_defects, key, first, BPF_NOEXIST))
			return 0;
		d = bpf_map_lookup_elem(&agg_defects, key);
	}
	if (d)
		__sync_fetch_and_add(&d->count, 1);
	else
		AGG_COUNT(unlisted);
	return 0;
}

struct task_struct___flags {
	unsigned int flags;
} core_type;

/* An exit whose scope is open nowhere on the thread. */
static __noinline int unmatched(struct aggregate_state *st, struct aggregate_site *site, __u64 token)
{
	struct task_struct *task = bpf_get_current_task_btf();
	__u32 lane, no_state = DROP_NO_STATE;
	__u64 *lost;

	if (!st || !site)
		return 0;
	lane = site->lane & (MAX_LANES - 1);
	if (st->over[lane]) {
		st->over[lane]--; /* its enter was refused and counted */
		AGG_COUNT(deep_exits);
		return 0;
	}
	if (st->late_used && take_late(st, site, token)) {
		AGG_COUNT(late);
		return 0;
	}
	if (st->top[lane])
		return violate(st, lane, 0, DEFECT_UNKNOWN);
	lost = bpf_map_lookup_elem(&drops, &no_state);
	if (st->start_time < site->since || (lost && *lost) ||
	    (task->pid == task->tgid &&
	     BPF_CORE_READ((struct task_struct___flags *)task, flags) & PF_FORKNOEXEC)) {
		AGG_COUNT(orphans);
		return 0;
	}
	return violate(st, lane, 0, DEFECT_NO_ACTIVE);
}

static __always_inline void enter_scope(struct aggregate_state *st, struct aggregate_site *site, __u64 ip)
{
	__u32 lane = site->lane & (MAX_LANES - 1), n;
	struct aggregate_frame *f;

	if (site->stale)
		drop_stale(st, lane, site->stale);
	if (st->late_used && !site->token)
		expire_late(st, site->pair);
	n = st->over[lane] ? 0 : new_frame(st);
	if (!n) {
		st->over[lane]++; /* inside it nothing is traced, so that exits go together */
		AGG_COUNT(too_deep);
		return;
	}
	locate(st, site, st->top[lane] ? frame_of(st, st->top[lane])->node : st->root, ip);
	f = frame_of(st, n);
	f->token = site->token ? slot_of(st, 0) : 0;
	f->time = st->now;
	f->inner = 0;
	f->node = st->found.node;
	f->cell = st->found.cell;
	f->pair = site->pair;
	f->below = st->top[lane];
	st->top[lane] = n;
	count_entered(st->found.cell);
}

/* The innermost scope that an exit means, 0 for none. */
__noinline __u32 find_scope(struct aggregate_state *st, struct aggregate_site *site, __u64 token)
{
	__u32 i, n;

	if (!st || !site)
		return 0;
	n = st->top[site->lane & (MAX_LANES - 1)];
	for (i = 0; i < AGG_DEPTH; i++) {
		struct aggregate_frame *f;

		if (!n)
			break;
		f = frame_of(st, n);
		if (f->pair == site->pair && (!site->token || f->token == token))
			return n;
		n = f->below;
	}
	return 0;
}

static __always_inline bool meant(struct aggregate_state *st, struct aggregate_site *site, __u64 token, __u32 n)
{
	struct aggregate_frame *f = frame_of(st, n);

	return n && f->pair == site->pair && (!site->token || f->token == token);
}

static __always_inline void exit_scope(struct aggregate_state *st, struct aggregate_site *site)
{
	__u32 lane = site->lane & (MAX_LANES - 1), n;
	__u64 token = site->token ? slot_of(st, 0) : 0, d;
	struct aggregate_frame *f;

	if (site->token && !token) { /* entered while nobody traced */
		AGG_COUNT(orphans);
		return;
	}
	if (st->over[lane] && !site->token) {
		st->over[lane]--;
		AGG_COUNT(deep_exits);
		return;
	}
	n = st->top[lane];
	if (!meant(st, site, token, n)) {
		n = find_scope(st, site, token);
		if (!n) {
			unmatched(st, site, token);
			return;
		}
		violate(st, lane, n, DEFECT_NOT_LIFO);
		if (aggregate_reject)
			return;
		unwind(st, lane, n, 1);
	}
	st->over[lane] = 0;
	f = frame_of(st, n);
	d = pop(st, lane);
	if (f->cell < AGG_NODES)
		account_shared(f->cell, d, f->inner);
	else
		account_own(f->cell, d, f->inner);
}

/* A site that proves scopes to be over. */
__noinline int reset_scopes(struct aggregate_state *st, __u64 mask)
{
	__u32 lane;

	for (lane = 0; lane < MAX_LANES; lane++)
		drop_stale(st, lane, mask);
	AGG_COUNT(resets);
	return 0;
}

/* ---- one marker ---------------------------------------------------------- */

/* The address of the site: rip in struct pt_regs, pc in struct user_pt_regs. */
static __always_inline __u64 address_of(void *ctx)
{
	__u64 ip;

	/* A context is read at constant offsets only; compilers like to compute them. */
	if (aggregate_arm64)
		asm volatile("%0 = *(u64 *)(%1 + 256)" : "=r"(ip) : "r"(ctx));
	else
		asm volatile("%0 = *(u64 *)(%1 + 128)" : "=r"(ip) : "r"(ctx));
	return ip;
}

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
		lose(DROP_NO_STATE);
		return NULL;
	}
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
	__u32 id = cookie, zero = 0;
	__u64 *until;

	site = bpf_map_lookup_elem(&agg_sites, &id);
	until = bpf_map_lookup_elem(&agg_until, &zero);
	if (!site || !until)
		return 0;
	st = bpf_task_storage_get(&agg_threads, task, 0, 0);
	if (!st)
		st = admit(task);
	if (!st)
		return 0;
	if (!site->gate || now < site->gate || now >= *until) {
		AGG_COUNT(outside);
		return 0;
	}
	if (!site->hit)
		site->hit = 1;
	st->now = now;
	st->site = id;
	fetch_arguments(ctx, (struct thread_state *)st, cookie >> 32);
	if (site->over)
		reset_scopes(st, site->over);
	else if (site->role == ROLE_ENTER)
		enter_scope(st, site, address_of(ctx));
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
