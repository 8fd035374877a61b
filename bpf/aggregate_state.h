/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * What aggregate.h keeps: of sites, paths, figures and threads. User space writes
 * the sites and reads the rest; all of it is counted in numbers of fixed size.
 */
#ifndef PHASETRACE_AGGREGATE_STATE_H
#define PHASETRACE_AGGREGATE_STATE_H

#define AGG_SITES 8192
#define AGG_PATHS 4096		      /* nodes with a name, processes included; 0 is none */
#define AGG_NODES (2 * AGG_PATHS)     /* AGG_PATHS + n: what found no room below n */
#define AGG_CHILDREN 2048	      /* names below one node */
#define AGG_SHARDS 32		      /* cells of one path, at most: one for all, and one for each thread with a slot */
#define AGG_CELLS (AGG_NODES + 8192)  /* the first of each node has the node's number */
#define AGG_BLOCKS 32768	      /* 0 is none */
#define AGG_SUB_BITS 5		      /* buckets to an octave: 1 << this, as internal/figures/histogram.go */
#define AGG_SUB (1 << AGG_SUB_BITS)
#define AGG_OCTAVES 64		      /* a power of two, for verifiers; 59 are in use */
#define AGG_FETCHED 16		      /* the same: MAX_CAPTURES are in use */
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

enum site_role { /* as probe.Effect */
	ROLE_ENTER = 1,
	ROLE_EXIT = 2,
};

enum aggregate_name {
	NAME_LITERAL = 0,
	NAME_STRING = 1, /* a slot holds its address */
	NAME_BYTES = 2,	 /* and the next one its length */
};

/* What to do at a site; written by user space, `hit` excepted. */
struct aggregate_site {
	__u64 gate;   /* ns, CLOCK_MONOTONIC: hits from before are passed over */
	__u64 since;  /* ns since boot: older threads may be inside already */
	__u64 stale;  /* pairs, a bit each, that cannot be open when this one is entered */
	__u64 over;   /* a reset site: pairs that cannot be open when it is hit */
	__u16 literal;
	__u8 pair;
	__u8 lane;
	__u8 role;    /* enum site_role */
	__u8 token;   /* 1: slot 0 holds the scope's token */
	__u8 name;    /* enum aggregate_name */
	__u8 name_slot;
	__u32 hit;
	__u32 arrival; /* changes of struct aggregate_end, from 1 on: with which it began to */
	__u32 removal; /* count, and with which it ended; 0 for not yet */
	__u32 pad;
	__u64 settled; /* ns, CLOCK_MONOTONIC: all hits from then on have counted; 0 for not yet */
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
	__u64 no_state; /* hits of threads for which there was no memory */
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
	__u16 site;  /* of its enter */
	__u16 node;
	__u16 cell;
	__u8 pair;
	__u8 below; /* the next one down its lane, from 1 on; of free frames: the next free one */
};

/* Which hits count; written by user space. */
struct aggregate_end {
	__u64 until;   /* ns, CLOCK_MONOTONIC: hits from then on are passed over */
	__u32 changes; /* so far: all sites of one begin or end at the same moment */
	__u32 pad;
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
	__u64 fetched[AGG_SLOTS / 8 + AGG_FETCHED];
	__u64 start_time;
	__u64 now;
	__u32 root;
	__u32 slot; /* 0: none, it shares cells */
	__u32 cut;
	__u32 site;
	__u32 dirty; /* bytes of key.name that may not be 0 */
	__u32 late_next;
	__u32 late_used;
	__u32 changes; /* of struct aggregate_end, as far as taken notice of */
	__u8 top[MAX_LANES]; /* frames, from 1 on */
	__u32 over[MAX_LANES]; /* open enters beyond the limit: the innermost ones */
	__u32 used; /* frames ever used */
	__u32 free;
	struct aggregate_late late[AGG_LATE];
	struct aggregate_hint hint[AGG_CACHE];
	struct aggregate_hint found;
	struct aggregate_key key; /* of the path looked for */
	__u64 slack;		  /* what is read of a name to see that it is longer */
	struct aggregate_defect_key defect_key; /* of the violation told now, and the rest of it */
	__u32 pad2;
	struct aggregate_defect defect;
	struct aggregate_frame frames[AGG_DEPTH];
};

_Static_assert(AGG_SLOTS % 8 == 0, "slots follow what is fetched");
_Static_assert(AGG_CELLS <= 1 << 16, "a frame keeps its cell in 16 bits");
_Static_assert(AGG_NODES <= 1 << 16 && AGG_SITES <= 1 << 16, "and its node and its site");
_Static_assert(sizeof(struct aggregate_key) == 8 + AGG_NAME, "no padding in a key");

/* Set by the loader before loading. */
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

AGG_ARRAY(agg_end, 1, struct aggregate_end);
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

/* Whether hits of a site count no more, and what was entered there is over. */
static __always_inline bool removed(struct aggregate_site *site, __u32 changes)
{
	return site->removal && site->removal <= changes;
}

static __always_inline struct aggregate_frame *frame_of(struct aggregate_state *st, __u32 n)
{
	return &st->frames[(n - 1) & (AGG_DEPTH - 1)];
}

#endif
