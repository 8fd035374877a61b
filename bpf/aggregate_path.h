/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * From the name that an enter gives, below what is open, to a path's number and
 * the cell in which the thread counts it.
 */
#ifndef PHASETRACE_AGGREGATE_PATH_H
#define PHASETRACE_AGGREGATE_PATH_H

/* Makes st->key a node. Returns its number, or that of what found no room. */
static __noinline __u32 make_node(struct aggregate_state *st)
{
	struct aggregate_totals *totals = aggregate_totals();
	struct aggregate_node *node, *above;
	__u32 parent, id, *found;
	__u64 which;

	if (!st || !totals)
		return 0;
	parent = st->key.parent;
	above = bpf_map_lookup_elem(&agg_nodes, &parent);
	if (!above || !take(&totals->nodes, AGG_PATHS - 1, &which))
		return AGG_PATHS + parent;
	id = which + 1;
	node = bpf_map_lookup_elem(&agg_nodes, &id);
	if (!node)
		return AGG_PATHS + parent;
	node->key = st->key;
	node->ready = 1;
	if (!bpf_map_update_elem(&agg_paths, &st->key, &id, BPF_NOEXIST)) {
		__sync_fetch_and_add(&above->children, 1);
		return id;
	}
	node->ready = 0;
	found = bpf_map_lookup_elem(&agg_paths, &st->key); /* another thread was faster */
	return found ? *found : AGG_PATHS + parent;
}

/* The node that st->key names. */
static __always_inline __u32 find_node(struct aggregate_state *st)
{
	__u32 parent = st->key.parent, *found;
	struct aggregate_node *above;

	if (parent >= AGG_PATHS)
		return parent; /* all of it is booked together */
	found = bpf_map_lookup_elem(&agg_paths, &st->key);
	if (found)
		return *found;
	above = bpf_map_lookup_elem(&agg_nodes, &parent);
	if (above && parent && above->children >= AGG_CHILDREN)
		return AGG_PATHS + parent;
	return make_node(st);
}

/* The thread's cell of a node. */
static __always_inline __u32 find_cell(struct aggregate_state *st, __u32 node)
{
	struct aggregate_totals *totals = aggregate_totals();
	__u32 slot = st->slot & (AGG_SHARDS - 1), cell;
	struct aggregate_index *index;
	__u64 which;

	index = bpf_map_lookup_elem(&agg_index, &node);
	if (!slot || !index || !totals)
		return node;
	cell = index->cell[slot];
	if (cell)
		return cell;
	if (!take(&totals->cells, AGG_CELLS - AGG_NODES, &which))
		return node;
	cell = AGG_NODES + which;
	index->cell[slot] = cell;
	return cell;
}

/* Whether a node is what st->key names. */
static __always_inline bool is_node(struct aggregate_state *st, __u32 id)
{
	struct aggregate_node *node;
	__u32 i;

	node = bpf_map_lookup_elem(&agg_nodes, &id);
	if (!node || *(__u64 *)&node->key != *(__u64 *)&st->key)
		return false;
	for (i = 0; i < AGG_NAME_WORDS; i++) {
		if (i * 8 >= st->key.len)
			break;
		if (node->key.name[i] != st->key.name[i])
			return false;
	}
	return true;
}

static __always_inline void clear_name(struct aggregate_state *st)
{
	__u32 i;

	for (i = 0; i < AGG_NAME_WORDS; i++) {
		if (i * 8 >= st->dirty)
			break;
		st->key.name[i] = 0;
	}
}

/* Reads a name into st->key; what it is called when that fails. */
static __always_inline void read_name(struct aggregate_state *st, __u64 addr)
{
	long n = bpf_probe_read_user_str(st->key.name, AGG_NAME + 1, (void *)addr);

	if (n < 0 && sleepable)
		n = read_absent_string((char *)st->key.name, AGG_NAME + 1, addr);
	if (n > AGG_NAME) { /* its NUL came too late */
		((char *)st->key.name)[AGG_NAME - 1] = 0;
		AGG_COUNT(cut_names);
		st->cut = 1;
		n = AGG_NAME;
	}
	if (n <= 0) { /* not even the closing NUL */
		st->dirty = AGG_NAME;
		st->key.literal = LITERAL_UNREADABLE;
		return;
	}
	st->dirty = n;
	st->key.len = n - 1;
}

static __noinline int read_bytes(struct aggregate_state *st, __u64 addr, __u64 len)
{
	__u32 n = len < AGG_NAME ? len : AGG_NAME - 1;
	long err;

	if (!st)
		return 0;
	if (len >= AGG_NAME)
		AGG_COUNT(cut_names);
	n &= AGG_NAME - 1;
	err = bpf_probe_read_user(st->key.name, n, (void *)addr);
	if (err && sleepable)
		err = read_absent(st->key.name, n, addr);
	st->dirty = AGG_NAME;
	if (err)
		st->key.literal = LITERAL_UNREADABLE;
	else
		st->key.len = n;
	return 0;
}

__noinline int fix_name(struct aggregate_state *st)
{
	AGG_COUNT(bad_names);
	if (!st)
		return 0;
	if (!st->key.literal)
		st->key.literal = LITERAL_EMPTY;
	clear_name(st);
	st->dirty = 0;
	st->key.len = 0;
	return 0;
}

static __always_inline __u64 slot_of(struct aggregate_state *st, __u32 i)
{
	return st->fetched[AGG_SLOTS / 8 + (i & (AGG_FETCHED - 1))];
}

/* Fills st->key with the name that an enter gives, below a parent. */
static __always_inline void name_phase(struct aggregate_state *st, struct aggregate_site *site, __u32 parent)
{
	__u64 addr;

	clear_name(st);
	st->dirty = 0;
	st->cut = 0;
	st->key.parent = parent;
	st->key.literal = site->literal;
	st->key.len = 0;
	if (site->name == NAME_LITERAL) {
		if (site->literal >= LITERAL_NULL)
			AGG_COUNT(bad_names);
		return;
	}
	addr = slot_of(st, site->name_slot);
	if (!addr)
		st->key.literal = LITERAL_NULL;
	else if (site->name == NAME_STRING)
		read_name(st, addr);
	else
		read_bytes(st, addr, slot_of(st, site->name_slot + 1));
	if (!st->key.len)
		fix_name(st);
}

/* Where a name is, as seen from the site, if it is one that cannot change; else 0. */
static __always_inline __u64 constant_name(struct aggregate_state *st, struct aggregate_site *site, __u64 ip)
{
	__u64 at = slot_of(st, site->name_slot) - ip;

	if (site->name != NAME_STRING)
		return 0;
	if (at - site->constant[0].low < site->constant[0].len || at - site->constant[1].low < site->constant[1].len)
		return at;
	return 0;
}

/* Finds the path that an enter begins below a parent: st->found. A name that
 * cannot change is read once.
 */
static __noinline int locate(struct aggregate_state *st, struct aggregate_site *site, __u32 parent, __u64 ip)
{
	struct aggregate_hint *hint, found = {};
	__u64 at, addr, hash;

	if (!st || !site)
		return 0;
	at = constant_name(st, site, ip);
	addr = site->name == NAME_LITERAL ? site->literal : slot_of(st, site->name_slot);
	hash = ((addr * 0x9e3779b97f4a7c15ULL) >> 59) ^ parent;
	opaque(hash); /* verifiers before 6.2 lose bounds at xor: the mask comes last */
	hint = &st->hint[hash & (AGG_CACHE - 1)];
	if (at && hint->constant == at && hint->site == st->site && hint->parent == parent) {
		st->found = *hint;
		return 0;
	}
	name_phase(st, site, parent);
	if (hint->node && is_node(st, hint->node)) {
		st->found = *hint;
		found.node = hint->node;
		found.cell = hint->cell;
	} else {
		found.node = find_node(st);
		found.cell = find_cell(st, found.node);
	}
	found.site = st->site;
	found.parent = parent;
	if (!st->key.literal && !st->cut)
		found.constant = at; /* the others are counted each time */
	st->found = found;
	if (found.node < AGG_PATHS)
		*hint = found;
	return 0;
}

#endif
