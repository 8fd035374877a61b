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
 * may sleep have to be static.
 *
 * Knows sites, pairs by number, threads and processes; nothing of what pairs
 * are called. The rules of nesting are those of internal/trace, as far as one
 * thread can judge.
 */
#ifndef PHASETRACE_AGGREGATE_H
#define PHASETRACE_AGGREGATE_H

#define AGG_SITES 8192
#define AGG_PATHS 4096		      /* nodes with a name, processes included; 0 is none */
#define AGG_NODES (2 * AGG_PATHS)     /* AGG_PATHS + n: what found no room below n */
#define AGG_CHILDREN 2048	      /* names below one node */
#define AGG_SHARDS 32		      /* cells of one path, at most: one for all, and one for each thread with a slot */
#define AGG_CELLS (AGG_NODES + 8192)  /* the first of each node has the node's number */
#define AGG_BLOCKS 32768	      /* 0 is none */
#define AGG_SUB_BITS 5		      /* buckets to an octave: 1 << this, as internal/trace/histogram.go */
#define AGG_SUB (1 << AGG_SUB_BITS)
#define AGG_OCTAVES 60
#define AGG_NAME 256		      /* bytes kept of a name, its NUL included */
#define AGG_NAME_WORDS (AGG_NAME / 8)
#define AGG_DEPTH 64		      /* scopes open on one thread */
#define AGG_LATE 16		      /* exits that a thread waits for after a repair */
#define AGG_CACHE 32		      /* paths that a thread finds at once */
#define AGG_DEFECTS 256

#define PF_FORKNOEXEC 0x40 /* include/linux/sched.h */

/* What a node is called, if not by its name's bytes. */
enum aggregate_literal {
	LITERAL_NONE = 0,
	LITERAL_PAIR = 1, /* this plus the pair's number */
	LITERAL_NULL = 0x100,
	LITERAL_UNREADABLE = 0x101,
	LITERAL_EMPTY = 0x102,
	LITERAL_PROCESS = 0x103, /* the name holds a struct aggregate_process */
};

enum aggregate_defect_kind { /* as recorder.Kind */
	DEFECT_NO_ACTIVE = 2,
	DEFECT_NOT_LIFO = 3,
	DEFECT_UNKNOWN = 4,
};

enum aggregate_name {
	NAME_LITERAL = 0,
	NAME_STRING = 1, /* a slot holds its address */
	NAME_BYTES = 2,	 /* and the next one its length */
};

/* What to do at a site; written by user space, `hit` excepted. */
struct aggregate_site {
	__u64 gate;   /* ns, CLOCK_MONOTONIC: hits from before are passed over; 0: all are */
	__u64 since;  /* ns since boot: older threads may be inside already */
	__u64 stale;  /* pairs, a bit each, that cannot be open when this one is entered */
	__u64 over;   /* a reset site: pairs that cannot be open when it is hit */
	__u16 literal;
	__u8 pair;
	__u8 lane;
	__u8 role;
	__u8 token;   /* 1: slot 0 holds the scope's token */
	__u8 name;    /* enum aggregate_name */
	__u8 name_slot;
	__u32 hit;
	__u32 pad;
	/* Memory of the site's own file that nobody can write, as seen from the site:
	 * what a name there is does not change.
	 */
	struct {
		__u64 low;
		__u64 len;
	} constant[2];
};

struct aggregate_process {
	__u64 start_time; /* ns since boot */
	__u32 tgid;	  /* of the initial pid namespace */
	__u32 view_tgid;  /* in that of the tracer, 0 for none */
};

struct aggregate_key {
	__u32 parent;
	__u16 literal;
	__u16 len;
	__u64 name[AGG_NAME_WORDS]; /* zeros behind its end */
};

struct aggregate_node {
	struct aggregate_key key; /* does not change once the node can be found */
	__u32 children;
	__u32 ready; /* 0: given up for another thread's */
};

struct aggregate_index {
	__u32 cell[AGG_SHARDS]; /* of the thread with that slot; 0: none yet. The first is not used. */
};

/* The first AGG_NODES cells, one for each node, are for all threads that have no
 * slot: every change is atomic. The others are changed by one thread only.
 */
struct aggregate_cell {
	__u64 entered;
	__u64 total;	  /* ns, of scopes that the program ended */
	__u64 inner;	  /* ns of total spent in scopes directly inside */
	__u64 max;	  /* ns */
	__u64 low;	  /* complement of the shortest, in ns; 0 before the first */
	__u64 unbucketed; /* ended scopes that found no block */
	__u32 block[AGG_OCTAVES];
};

struct aggregate_block {
	__u64 n[AGG_SUB];
};

struct aggregate_totals {
	__u64 nodes; /* taken; may exceed what there is */
	__u64 cells;
	__u64 blocks;
	__u64 slots; /* a bit for each one in use */
	__u64 outside;
	__u64 orphans;
	__u64 violations;
	__u64 unclosed; /* of the violations: those that ended no scope */
	__u64 unlisted; /* of the violations: not among the defects */
	__u64 too_deep; /* enters */
	__u64 deep_exits; /* exits of those */
	__u64 resets;
	__u64 late;
	__u64 bad_names;
	__u64 cut_names;
};

struct aggregate_defect_key {
	__u32 root;
	__u32 site;
	__u32 closing; /* nodes, 0 for none */
	__u32 top;
	__u32 kind;
};

struct aggregate_defect {
	__u64 count;
	__u64 time; /* of the first, ns, CLOCK_MONOTONIC */
	__u64 closing_start;
	__u64 top_start;
	__u32 tid; /* of the initial pid namespace */
	__u32 view_tid;
	char comm[COMM_LEN];
};

struct aggregate_frame {
	__u64 token;
	__u64 time;
	__u64 inner; /* ns spent in scopes directly inside */
	__u32 node;
	__u16 cell;
	__u8 pair;
	__u8 below; /* the next one down its lane, from 1 on; of free frames: the next free one */
};

struct aggregate_late {
	__u64 token;
	__u32 pair; /* from 1 on, 0 is free */
	__u32 pad;
};

struct aggregate_hint {
	__u64 constant; /* where the name is, as seen from the site; 0: it has to be read */
	__u32 site;
	__u32 parent;
	__u32 node;
	__u32 cell;
};

/* fetch_arguments fills the beginning of a struct thread_state; strings are
 * not among what it fetches here.
 */
#define AGG_SLOTS __builtin_offsetof(struct thread_state, payload)

struct aggregate_state {
	__u64 fetched[AGG_SLOTS / 8 + MAX_CAPTURES];
	__u64 start_time;
	__u64 now;
	__u32 root;
	__u32 slot; /* 0: none, it shares cells */
	__u32 cut;
	__u32 site;
	__u32 dirty; /* bytes of key.name that may not be 0 */
	__u32 late_next;
	__u32 late_used;
	__u32 pad;
	__u8 top[MAX_LANES]; /* frames, from 1 on */
	__u32 over[MAX_LANES]; /* open enters beyond the limit: the innermost ones */
	__u32 used; /* frames ever used */
	__u32 free;
	struct aggregate_late late[AGG_LATE];
	struct aggregate_hint hint[AGG_CACHE];
	struct aggregate_hint found;
	struct aggregate_key key; /* of the path looked for */
	__u64 slack;		  /* what is read of a name to see that it is longer */
	struct aggregate_frame frames[AGG_DEPTH];
};

_Static_assert(AGG_SLOTS % 8 == 0, "slots follow what is fetched");
_Static_assert(AGG_CELLS <= 1 << 16, "a frame keeps its cell in 16 bits");
_Static_assert(sizeof(struct aggregate_key) == 8 + AGG_NAME, "no padding in a key");

/* Set by the loader before loading. */
const volatile __u8 aggregate_arm64 = 0;
const volatile __u8 aggregate_reject = 0;  /* a violation leaves the stack as it is */

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct aggregate_state);
} agg_threads SEC(".maps");

#define AGG_ARRAY(name, n, t)                     \
	struct {                                  \
		__uint(type, BPF_MAP_TYPE_ARRAY); \
		__uint(max_entries, n);           \
		__type(key, __u32);               \
		__type(value, t);                 \
	} name SEC(".maps")

AGG_ARRAY(agg_until, 1, __u64); /* ns, CLOCK_MONOTONIC: hits from then on are passed over */
AGG_ARRAY(agg_totals, 1, struct aggregate_totals);
AGG_ARRAY(agg_sites, AGG_SITES, struct aggregate_site);
AGG_ARRAY(agg_nodes, AGG_PATHS, struct aggregate_node);
AGG_ARRAY(agg_index, AGG_NODES, struct aggregate_index);
AGG_ARRAY(agg_cells, AGG_CELLS, struct aggregate_cell);
AGG_ARRAY(agg_blocks, AGG_BLOCKS, struct aggregate_block);

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, AGG_PATHS);
	__type(key, struct aggregate_key);
	__type(value, __u32);
} agg_paths SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, AGG_DEFECTS);
	__type(key, struct aggregate_defect_key);
	__type(value, struct aggregate_defect);
} agg_defects SEC(".maps");

static __always_inline struct aggregate_totals *aggregate_totals(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&agg_totals, &zero);
}

#define AGG_COUNT(field)                                            \
	do {                                                        \
		struct aggregate_totals *totals_ = aggregate_totals(); \
		if (totals_)                                        \
			__sync_fetch_and_add(&totals_->field, 1);   \
	} while (0)

/* Takes one of `limit` things, of which `taken` counts those given out. */
static __always_inline bool take(__u64 *taken, __u64 limit, __u64 *which)
{
	if (*taken >= limit)
		return false;
	*which = __sync_fetch_and_add(taken, 1);
	return *which < limit;
}

static __always_inline struct aggregate_frame *frame_of(struct aggregate_state *st, __u32 n)
{
	return &st->frames[(n - 1) & (AGG_DEPTH - 1)];
}

/* ---- paths --------------------------------------------------------------- */

/* Makes st->key a node. Returns its number, or that of what found no room. */
__noinline __u32 make_node(struct aggregate_state *st)
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
	if (n < 0) {
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
		err = bpf_copy_from_user(st->key.name, n, (void *)addr);
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
	return st->fetched[AGG_SLOTS / 8 + (i < MAX_CAPTURES ? i : 0)];
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
	__u64 at, addr;
	__u32 hash;

	if (!st || !site)
		return 0;
	at = constant_name(st, site, ip);
	addr = site->name == NAME_LITERAL ? site->literal : slot_of(st, site->name_slot);
	hash = ((addr * 0x9e3779b97f4a7c15ULL) >> 59) ^ parent;
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

/* ---- figures ------------------------------------------------------------- */

/* Brings *at up to v. */
static __always_inline void raise(__u64 *at, __u64 v)
{
	__u64 old = *at;
	int i;

	for (i = 0; i < 32; i++) {
		__u64 seen;

		if (old >= v)
			return;
		seen = __sync_val_compare_and_swap(at, old, v);
		if (seen == old)
			return;
		old = seen; /* it has grown */
	}
}

static __noinline __u32 new_block(struct aggregate_cell *cell, __u32 octave)
{
	struct aggregate_totals *totals = aggregate_totals();
	__u32 block, old;
	__u64 which;

	if (!cell || !totals || octave >= AGG_OCTAVES || !take(&totals->blocks, AGG_BLOCKS - 1, &which))
		return 0;
	block = which + 1;
	old = __sync_val_compare_and_swap(&cell->block[octave], 0, block);
	return old ? old : block;
}

/* Number of bits of v. */
static __always_inline __u32 bit_length(__u64 v)
{
	__u32 n = 0;

	if (v >> 32) { n += 32; v >>= 32; }
	if (v >> 16) { n += 16; v >>= 16; }
	if (v >> 8) { n += 8; v >>= 8; }
	if (v >> 4) { n += 4; v >>= 4; }
	if (v >> 2) { n += 2; v >>= 2; }
	if (v >> 1) { n += 1; v >>= 1; }
	return n + v;
}

/* Where a duration is counted. */
static __always_inline __u64 *bucket_of(struct aggregate_cell *cell, __u64 d)
{
	__u32 octave = bit_length(d >> AGG_SUB_BITS), block;
	struct aggregate_block *b;

	if (octave >= AGG_OCTAVES)
		octave = AGG_OCTAVES - 1;
	block = cell->block[octave];
	if (!block)
		block = new_block(cell, octave);
	b = bpf_map_lookup_elem(&agg_blocks, &block);
	if (!b || !block)
		return &cell->unbucketed;
	if (octave)
		d >>= octave - 1;
	return &b->n[d & (AGG_SUB - 1)];
}

/* Adds a scope that has ended to a cell for many threads. */
__noinline int account_shared(__u32 n, __u64 d, __u64 inner)
{
	struct aggregate_cell *cell = bpf_map_lookup_elem(&agg_cells, &n);

	if (!cell)
		return 0;
	__sync_fetch_and_add(&cell->total, d);
	if (inner)
		__sync_fetch_and_add(&cell->inner, inner < d ? inner : d);
	if (d > cell->max)
		raise(&cell->max, d);
	if (~d > cell->low)
		raise(&cell->low, ~d);
	__sync_fetch_and_add(bucket_of(cell, d), 1);
	return 0;
}

/* The same for the thread's own cells. */
__noinline int account_own(__u32 n, __u64 d, __u64 inner)
{
	struct aggregate_cell *cell = bpf_map_lookup_elem(&agg_cells, &n);

	if (!cell)
		return 0;
	cell->total += d;
	if (inner)
		cell->inner += inner < d ? inner : d;
	if (d > cell->max)
		cell->max = d;
	if (~d > cell->low)
		cell->low = ~d;
	(*bucket_of(cell, d))++;
	return 0;
}

static __always_inline void count_entered(__u32 n)
{
	struct aggregate_cell *cell = bpf_map_lookup_elem(&agg_cells, &n);

	if (!cell)
		return;
	if (n < AGG_NODES)
		__sync_fetch_and_add(&cell->entered, 1);
	else
		cell->entered++;
}

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
__noinline int violate(struct aggregate_state *st, __u32 lane, __u32 found, __u32 kind)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct aggregate_defect_key key = { .kind = kind };
	struct aggregate_defect first = { .count = 1 }, *d;
	struct aggregate_frame *f;

	AGG_COUNT(violations);
	if (kind != DEFECT_NOT_LIFO || aggregate_reject)
		AGG_COUNT(unclosed);
	if (!st || lane >= MAX_LANES)
		return 0;
	key.root = st->root;
	key.site = st->site;
	if (found) {
		f = frame_of(st, found);
		key.closing = f->node;
		first.closing_start = f->time;
	}
	if (st->top[lane]) {
		f = frame_of(st, st->top[lane]);
		key.top = f->node;
		first.top_start = f->time;
	}
	d = bpf_map_lookup_elem(&agg_defects, &key);
	if (!d) {
		first.time = st->now;
		first.tid = BPF_CORE_READ(task, pid);
		first.view_tid = view_id(task);
		BPF_CORE_READ_INTO(&first.comm, task, comm);
		if (!bpf_map_update_elem(&agg_defects, &key, &first, BPF_NOEXIST))
			return 0;
		d = bpf_map_lookup_elem(&agg_defects, &key);
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
__noinline int unmatched(struct aggregate_state *st, struct aggregate_site *site, __u64 token)
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
