/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Adding a scope to the figures of its path.
 */
#ifndef PHASETRACE_AGGREGATE_COUNT_H
#define PHASETRACE_AGGREGATE_COUNT_H

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

	if (!cell || !totals || !take(&totals->blocks, AGG_BLOCKS - 1, &which))
		return 0;
	block = which + 1;
	old = __sync_val_compare_and_swap(&cell->block[octave & (AGG_OCTAVES - 1)], 0, block);
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

	block = cell->block[octave & (AGG_OCTAVES - 1)];
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

#endif
