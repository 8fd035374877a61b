/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * How records reach user space: a ring for each CPU in memory shared with the
 * reader. A BPF ring buffer takes a lock and an exchange that waits for the
 * record to be written out, more than everything else at a marker together;
 * and all CPUs share it. It stays as the bell that wakes the reader, and as
 * the one ring where the machine cannot do without (ring_bytes is 0).
 *
 * A record is reserved by moving `head`, filled, and committed by writing its
 * length in front of it; zero there means not committed. The reader takes
 * records from `tail` on, zeroes them, and then moves `tail`. A record lies in
 * one piece: one that begins near the end of the ring reaches beyond it, into
 * RING_OVERHANG. Programs on one CPU can be preempted for one another between
 * any two instructions, hence the exchange. The last eighth of a ring is kept
 * for threads that have little in it (room_for).
 *
 * A reader that has read all there is may set `head`, and then `tail`, back to
 * where the ring's memory begins: as long as it keeps up, records are written
 * where memory is in the cache. In between, `tail` is ahead of `head`.
 *
 * Order: a thread reads the clock for a record after it has committed the one
 * before. So a reader that takes the time first, then looks at every ring,
 * then hands out what is older, by time, has each thread's records in order
 * (internal/loader/rings.go).
 */
#ifndef PHASETRACE_RING_H
#define PHASETRACE_RING_H

/* Set by the loader. Sizes are powers of two. */
const volatile __u32 ring_bytes = 0;	 /* of one CPU's ring; 0: one BPF ring buffer for all */
const volatile __u32 ring_count = 1;	 /* of rings; CPUs beyond share them */
const volatile __u8 stores_in_order = 0; /* as on x86: a commit needs no barrier */
const volatile __u64 wake_interval = 0;	 /* ns between wakeups of the reader; 0: only when the ring fills */
const volatile __u32 wake_bytes = 1 << 20; /* unread bytes that wake the reader, a power of two */

__u64 last_wake = 0;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 24);
} ring SEC(".maps");

/* The loader sets the sizes: a ring is RING_DATA + ring_bytes + RING_OVERHANG. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__uint(key_size, 4);
	__uint(value_size, RING_DATA + RING_OVERHANG);
} rings SEC(".maps");

/* A program that is preempted or overtaken in between tries again; eight tries are nearly always enough. */
#define RESERVE_TRIES 8

#define order() asm volatile("" ::: "memory")

/* The ring of this CPU. */
static __always_inline struct ring_header *cpu_ring(void)
{
	__u32 cpu = bpf_get_smp_processor_id() & (ring_count - 1);

	return bpf_map_lookup_elem(&rings, &cpu);
}

static __always_inline __u64 *ring_at(struct ring_header *r, __u64 position)
{
	return (void *)r + RING_DATA + (position & (ring_bytes - 1) & ~7ULL);
}

/* Fetches the memory of the next record into the cache: the reader has touched it last. */
static __always_inline void approach(struct ring_header *r)
{
	volatile __u64 *at = ring_at(r, r->head);

	(void)at[8];
	(void)at[16];
}

/*
 * Room for a record of `size` bytes, its length included, a multiple of 8 and
 * at most RING_OVERHANG, within the first `room` bytes of the ring; NULL if there
 * is none. *head is where it begins, *unread how much lies before it.
 */
static __always_inline __u64 *reserve(struct ring_header *r, __u32 size, __u32 room, __u64 *head, __u64 *unread)
{
#pragma unroll
	for (__u32 i = 0; i < RESERVE_TRIES; i++) {
		__u64 at = *(volatile __u64 *)&r->head;
		__s64 used = at - *(volatile __u64 *)&r->tail;

		if (used + size > (__s64)room)
			return NULL;
		/*
		 * Negative: both have moved meanwhile, or the reader is setting them
		 * back. Then there is room up to where it was.
		 */
		if (used < 0 && used + size > 0)
			continue;
		if (__sync_val_compare_and_swap(&r->head, at, at + size) == at) {
			*head = at;
			*unread = used;
			return ring_at(r, at);
		}
	}
	return NULL;
}

/*
 * How much of the ring a thread may use for a marker: what is left last is for
 * those that have little in it, and for records that are no markers. So a few
 * threads that hit markers without end do not make the others lose theirs.
 */
static __always_inline __u32 room_for(struct thread_state *st, struct ring_header *r, __u32 size)
{
	__u64 head = *(volatile __u64 *)&r->head;
	__u64 unread = head - *(volatile __u64 *)&r->tail;

	if (head - st->window > unread) { /* it has been read, or is in another CPU's ring */
		st->window = head;
		st->share /= 2; /* not at once: threads that change CPUs begin anew each time */
	}
	return unread && st->share + size > ring_bytes / 32 ? ring_bytes - ring_bytes / 8 : ring_bytes;
}

static __always_inline void commit(__u64 *at, __u64 len)
{
	if (stores_in_order) {
		order();
		*(volatile __u64 *)at = len;
	} else {
		__sync_lock_test_and_set(at, len);
	}
}

static __always_inline void wake_reader(void)
{
	__u64 nothing = 0;

	/* If there is no room, a wakeup is already pending. */
	bpf_ringbuf_output(&ring, &nothing, sizeof(nothing), BPF_RB_FORCE_WAKEUP);
}

/*
 * Whether to wake the reader, which else comes on a timer: at most once a
 * wake_interval, and when much is unread.
 */
static __always_inline bool wakes(__u64 now)
{
	/* Signed: another CPU's record may be younger than ours. */
	if (wake_interval && (__s64)(now - last_wake) > (__s64)wake_interval) {
		last_wake = now;
		return true;
	}
	return false;
}

/* A record of a fixed size, a multiple of 8. Returns 0, or negative when it is lost. */
static __noinline long send_record(const void *rec, __u32 size, __u64 flags)
{
	__u64 *to, head, unread;
	struct ring_header *r;
	__u32 i;

	if (!rec)
		return -1;
	if (!ring_bytes)
		return bpf_ringbuf_output(&ring, (void *)rec, size, flags);
	r = cpu_ring();
	if (!r)
		return -1;
	to = reserve(r, 8 + size, ring_bytes, &head, &unread);
	if (!to)
		return -1;
	for (i = 0; i < size / 8; i++)
		to[1 + i] = ((const __u64 *)rec)[i];
	commit(to, size);
	if (flags & BPF_RB_FORCE_WAKEUP)
		wake_reader();
	return 0;
}

#define MARKER_WORDS (sizeof(struct marker_record) / 8)

/* Most records' payload is no longer, in words, and copied without a call. */
#define INLINE_WORDS 12

/*
 * The record of a marker: st->rec and st->used bytes of st->payload. r is the
 * ring of this CPU, NULL where there is none.
 */
static __always_inline long send_marker(struct thread_state *st, struct ring_header *r)
{
	__u32 used = st->used, size, i;
	__u64 *to, head, unread;

	if (used > PAYLOAD_SIZE)
		return -1;
	if (!ring_bytes) {
		__u64 flags = BPF_RB_NO_WAKEUP;

		if (wakes(st->rec.time) ||
		    ((st->rec.seq & 255) == 255 && bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA) > wake_bytes))
			flags = BPF_RB_FORCE_WAKEUP;
		return bpf_ringbuf_output(&ring, &st->rec, sizeof(st->rec) + used, flags);
	}
	if (!r)
		return -1;
	size = (8 + sizeof(st->rec) + used + 7) & ~7u;
	to = reserve(r, size, room_for(st, r, size), &head, &unread);
	if (!to)
		return -1;
	st->share += size;
#pragma unroll
	for (i = 0; i < MARKER_WORDS; i++)
		to[1 + i] = ((__u64 *)&st->rec)[i];
	if (used <= INLINE_WORDS * 8) {
		for (i = 0; i < INLINE_WORDS; i++) {
			if (i * 8 >= used)
				break;
			to[1 + MARKER_WORDS + i] = ((__u64 *)st->payload)[i];
		}
	} else {
		bpf_probe_read_kernel(to + 1 + MARKER_WORDS, used, st->payload);
	}
	commit(to, sizeof(st->rec) + used);
	/* once each time that wake_bytes more are unread */
	if (wakes(st->rec.time) || (unread > wake_bytes && ((head ^ (head + size)) & wake_bytes)))
		wake_reader();
	return 0;
}

#endif
