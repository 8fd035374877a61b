/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * The open scopes of one thread: entering and leaving them, and what is made of
 * exits that break strict nesting.
 */
#ifndef PHASETRACE_AGGREGATE_SCOPE_H
#define PHASETRACE_AGGREGATE_SCOPE_H

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

/* Closes the outermost scope of a lane whose site's probes were removed, and what
 * is inside it, of which exits may still come.
 */
__noinline int drop_removed(struct aggregate_state *st, __u32 lane)
{
	__u32 i, n, below = 0;
	bool found = false;

	if (!st || lane >= MAX_LANES)
		return 0;
	n = st->top[lane];
	for (i = 0; i < AGG_DEPTH; i++) {
		struct aggregate_site *site;
		struct aggregate_frame *f;
		__u32 id;

		if (!n)
			break;
		f = frame_of(st, n);
		n = f->below;
		id = f->site;
		site = bpf_map_lookup_elem(&agg_sites, &id);
		if (site && removed(site, st->changes)) {
			below = n;
			found = true;
		}
	}
	if (!found)
		return 0;
	unwind(st, lane, below, 1);
	st->over[lane] = 0;
	return 0;
}

/* Some sites' probes were removed: their exits do not come any more. */
__noinline int end_removed(struct aggregate_state *st)
{
	__u32 lane;

	for (lane = 0; lane < MAX_LANES; lane++)
		drop_removed(st, lane);
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
	struct aggregate_totals *totals = aggregate_totals();
	__u32 lane;

	if (!st || !site || !totals)
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
	if (totals->no_state) { /* its enter may be among them */
		AGG_COUNT(orphans);
		return 0;
	}
	if (st->top[lane]) {
		if (site->settled && frame_of(st, st->top[lane])->time >= site->settled)
			return violate(st, lane, 0, DEFECT_UNKNOWN);
		/* attached inside that phase, perhaps inside its own too */
		AGG_COUNT(orphans);
		return 0;
	}
	if (st->start_time < site->since ||
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
	f->site = st->site;
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

#endif
