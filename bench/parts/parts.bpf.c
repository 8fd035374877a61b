//go:build ignore

/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * What one boundary is made of, one part more from program to program: the
 * benchmark attaches each to the same sites and takes the differences. None of
 * it is shipped; bpf/phasetrace.bpf.c is what is measured in the end.
 */
#include "../../bpf/kernel.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

/* Offset of the register that holds the name, in the machine's pt_regs. */
const volatile __u32 name_register = 0;

struct state {
	__u64 seq;
	__u64 time;
	__u64 cookie;
	__u64 counters[4];
	char name[257];
	__u8 rest[103];
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct state);
} states SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 24);
} ring SEC(".maps");

/* A ring for each CPU, as bpf/ring.h has it, which nobody reads. */
#define OWN_BYTES (4 << 20)

struct own_ring {
	__u64 head;
	__u64 pad[511];
	__u8 data[OWN_BYTES + 4096];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct own_ring);
} own_rings SEC(".maps");

enum part {
	STATE = 1,
	CLOCK = 2,
	COOKIE = 4,
	COUNTERS = 8,
	STRING = 16,
	OUTPUT = 32,
	RESERVE = 64,
	WAKEUP = 128,
	OWN = 256,
};

static __always_inline void own(struct state *st)
{
	__u32 cpu = bpf_get_smp_processor_id() & 1;
	struct own_ring *r = bpf_map_lookup_elem(&own_rings, &cpu);
	__u64 *to, head;

	if (!r)
		return;
	head = r->head;
	if (__sync_val_compare_and_swap(&r->head, head, head + 104) != head)
		return;
	to = (void *)r->data + (head & (OWN_BYTES - 1) & ~7ULL);
	__builtin_memcpy(to + 1, st, 96);
	asm volatile("" ::: "memory");
	*(volatile __u64 *)to = 96;
}

static __always_inline int run(void *ctx, __u32 parts)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct state *st = bpf_task_storage_get(&states, task, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	__u64 name;

	if (!st)
		return 0;
	st->seq++;
	if (parts & CLOCK)
		st->time = bpf_ktime_get_ns();
	if (parts & COOKIE)
		st->cookie = bpf_get_attach_cookie(ctx);
	if (parts & COUNTERS) {
		st->counters[0] = task->nvcsw;
		st->counters[1] = task->nivcsw;
		st->counters[2] = task->min_flt;
		st->counters[3] = task->maj_flt;
	}
	if (parts & STRING) {
		/* rsi on x86-64, x1 or another on arm64 */
		if (name_register == 104)
			asm volatile("%0 = *(u64 *)(%1 + 104)" : "=r"(name) : "r"(ctx));
		else
			bpf_probe_read_kernel(&name, sizeof(name), ctx + name_register);
		bpf_probe_read_user_str(st->name, sizeof(st->name), (void *)name);
	}
	if (parts & OUTPUT)
		bpf_ringbuf_output(&ring, st, 96, parts & WAKEUP ? 0 : BPF_RB_NO_WAKEUP);
	if (parts & OWN)
		own(st);
	if (parts & RESERVE) {
		void *r = bpf_ringbuf_reserve(&ring, 96, 0);

		if (r) {
			__builtin_memcpy(r, st, 96);
			bpf_ringbuf_submit(r, BPF_RB_NO_WAKEUP);
		}
	}
	return 0;
}

#define PART(name, parts)              \
	SEC("uprobe")                   \
	int part_##name(void *ctx)      \
	{                               \
		return run(ctx, parts); \
	}

SEC("uprobe")
int part_empty(void *ctx)
{
	return 0;
}

PART(state, STATE)
PART(clock, STATE | CLOCK)
PART(cookie, STATE | CLOCK | COOKIE)
PART(counters, STATE | CLOCK | COOKIE | COUNTERS)
PART(string, STATE | CLOCK | COOKIE | COUNTERS | STRING)
PART(output, STATE | CLOCK | COOKIE | COUNTERS | STRING | OUTPUT)
PART(reserve, STATE | CLOCK | COOKIE | COUNTERS | STRING | RESERVE)
PART(record, STATE | CLOCK | COOKIE | COUNTERS | OUTPUT)
PART(own, STATE | CLOCK | COOKIE | COUNTERS | OWN)
PART(own_string, STATE | CLOCK | COOKIE | COUNTERS | STRING | OWN)
PART(wakeup, STATE | CLOCK | COOKIE | COUNTERS | OUTPUT | WAKEUP)
