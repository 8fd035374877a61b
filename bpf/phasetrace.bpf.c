//go:build ignore

/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * One hit of a marker: fetch the arguments as the site's spec says, bring the
 * thread's state forward, put one record into the ring buffer.
 *
 * Knows sites, threads and processes; nothing of phases or of how pairs are
 * named. The same marker program exists twice: marker_any looks its spec up by
 * the BPF cookie and serves every site; marker_one carries one spec as a
 * constant, so that the verifier removes what the site does not need.
 */
#include "kernel.h"
#include "event.h"
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "Dual MIT/GPL";

#define EFAULT 14
#define NSEC_PER_MSEC 1000000ULL

/* Set by the loader before loading. */
const volatile struct site_spec constant_spec = {};
const volatile __u8 sleepable = 0;	  /* bpf_copy_from_user is allowed */
const volatile __u8 filter_processes = 0; /* attached without a PID: look at targets */
const volatile __u8 follow_forks = 0;
const volatile __u64 wake_interval = 0;	  /* ns between wakeups of the reader; 0: only when the ring fills */
const volatile __u32 wake_bytes = 1 << 20; /* unread bytes that wake the reader */

/* Level of the tracer's pid namespace, found by locate_tracer. */
__u32 tracer_level = 0;
__u64 last_wake = 0;

#define PAYLOAD_SIZE (MAX_CAPTURES * 8 + DATA_MAX + STR_MAX + 8)

/* Types of event.h reach the Go side through BTF only when something global uses them. */
const struct thread_record *unused_thread_record __attribute__((unused));
const struct string_slot *unused_string_slot __attribute__((unused));
const enum operand_kind *unused_operand_kind __attribute__((unused));
const enum capture_type *unused_capture_type __attribute__((unused));
const enum site_role *unused_site_role __attribute__((unused));
const enum record_type *unused_record_type __attribute__((unused));
const enum string_flag *unused_string_flag __attribute__((unused));
const enum drop_counter *unused_drop_counter __attribute__((unused));

struct lane_state {
	__s32 depth;
	__s32 low;
};

/* Everything about one thread, the record under construction included: the
 * memory belongs to the thread, so a program that sleeps or is preempted in
 * the middle shares it with nobody.
 */
struct thread_state {
	__u64 seq;
	__u64 start_time;
	__u64 comm[2]; /* as last told */
	__u32 told;
	__u32 pad;
	struct lane_state lanes[MAX_LANES];
	struct record rec;
	__u8 payload[PAYLOAD_SIZE]; /* slots, then strings; sent together with rec */
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct thread_state);
} threads SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 24);
} ring SEC(".maps");

/* What to capture, by number. A site's cookie: its id, and above it this number. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_SPECS);
	__type(key, __u32);
	__type(value, struct site_spec);
} argument_specs SEC(".maps");

/* Traced processes by their id in the tracer's pid namespace. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, __u8);
} targets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, DROP_COUNTERS);
	__type(key, __u32);
	__type(value, __u64);
} drops SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 16384);
	__type(key, struct loss_key);
	__type(value, __u64);
} lost SEC(".maps");

static __always_inline void count_drop(__u32 which)
{
	__u64 *n = bpf_map_lookup_elem(&drops, &which);

	if (n)
		(*n)++;
}

/* Number of task in the pid namespace at a level; 0 where it has none. */
static __always_inline __u32 pid_at(struct task_struct *task, __u32 level)
{
	struct pid *pid = BPF_CORE_READ(task, thread_pid);
	struct upid *numbers;
	__u32 nr = 0;

	if (!pid || level > BPF_CORE_READ(pid, level))
		return 0;
	numbers = (void *)pid + bpf_core_field_offset(pid->numbers);
	bpf_probe_read_kernel(&nr, sizeof(nr),
			      (void *)numbers + level * bpf_core_type_size(struct upid) +
				      bpf_core_field_offset(struct upid, nr));
	return nr;
}

static __always_inline __u32 view_tgid(struct task_struct *task)
{
	return pid_at(BPF_CORE_READ(task, group_leader), tracer_level);
}

static __always_inline void identify(struct task_struct *task, struct identity *who)
{
	struct task_struct *leader = BPF_CORE_READ(task, group_leader);
	__u32 inner = BPF_CORE_READ(task, thread_pid, level);

	who->start_time = BPF_CORE_READ(task, start_boottime);
	BPF_CORE_READ_INTO(&who->comm, task, comm);
	who->view_tgid = pid_at(leader, tracer_level);
	who->view_tid = pid_at(task, tracer_level);
	who->inner_tgid = pid_at(leader, inner);
	who->inner_tid = pid_at(task, inner);
}

static __always_inline void stamp(struct record *rec, struct task_struct *task, __u8 type)
{
	rec->time = bpf_ktime_get_ns();
	rec->tgid = BPF_CORE_READ(task, tgid);
	rec->tid = BPF_CORE_READ(task, pid);
	rec->type = type;
}

/* Lifecycle records are rare and wake the reader, so that it can act on them. */
static __always_inline long send_lifecycle(struct thread_record *tr)
{
	long err = bpf_ringbuf_output(&ring, tr, sizeof(*tr), BPF_RB_FORCE_WAKEUP);

	if (err)
		count_drop(DROP_LIFECYCLE);
	return err;
}

/*
 * Tell who a thread is, before its first marker and when its name changes.
 * Without it no marker of the thread is delivered: user space never has to
 * guess whose record it reads.
 */
static __noinline long tell_thread(struct thread_state *st)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct thread_record tr = {};

	if (!st)
		return -1;
	stamp(&tr.rec, task, RECORD_THREAD);
	identify(task, &tr.who);
	st->start_time = tr.who.start_time;
	__builtin_memcpy(st->comm, tr.who.comm, COMM_LEN);
	if (bpf_ringbuf_output(&ring, &tr, sizeof(tr), BPF_RB_NO_WAKEUP))
		return -1;
	st->told = 1;
	return 0;
}

static __noinline int lose(__u32 which)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct loss_key key = {};
	__u64 one = 1, *n;

	count_drop(which);
	key.start_time = BPF_CORE_READ(task, start_boottime);
	key.tgid = BPF_CORE_READ(task, tgid);
	key.tid = BPF_CORE_READ(task, pid);
	n = bpf_map_lookup_elem(&lost, &key);
	if (n)
		__sync_fetch_and_add(n, 1);
	else if (bpf_map_update_elem(&lost, &key, &one, BPF_ANY))
		count_drop(DROP_UNATTRIBUTED);
	return 0;
}

/* ---- arguments ---------------------------------------------------------- */

/*
 * Two ways to a register: marker_one knows its offsets when it is verified and
 * is left with the loads it needs, the verifier removes the other cases;
 * marker_any reads at an offset known only at run time.
 */
#define REG_CASE(n)                                                       \
	case (n) * 8:                                                     \
		asm volatile("%0 = *(u64 *)(%1 + %2)"                     \
			     : "=r"(value)                                \
			     : "r"(ctx), "i"((n) * 8));                   \
		break;

static __noinline __u64 constant_register(void *ctx, __u16 offset)
{
	__u64 value = 0;

	switch (offset) {
		REG_CASE(0) REG_CASE(1) REG_CASE(2) REG_CASE(3) REG_CASE(4) REG_CASE(5)
		REG_CASE(6) REG_CASE(7) REG_CASE(8) REG_CASE(9) REG_CASE(10) REG_CASE(11)
		REG_CASE(12) REG_CASE(13) REG_CASE(14) REG_CASE(15) REG_CASE(16) REG_CASE(17)
		REG_CASE(18) REG_CASE(19) REG_CASE(20) REG_CASE(21) REG_CASE(22) REG_CASE(23)
		REG_CASE(24) REG_CASE(25) REG_CASE(26) REG_CASE(27) REG_CASE(28) REG_CASE(29)
		REG_CASE(30) REG_CASE(31) REG_CASE(32)
	}
	return value;
}

static __always_inline __u64 any_register(void *ctx, __u16 offset)
{
	__u64 value = 0;

	bpf_probe_read_kernel(&value, sizeof(value), ctx + offset);
	return value;
}

static __always_inline __u64 read_register(void *ctx, __u16 offset, bool constant)
{
	return constant ? constant_register(ctx, offset) : any_register(ctx, offset);
}

static __always_inline __u64 fit(__u64 value, __u8 size, __u8 is_signed)
{
	switch (size) {
	case 1:
		return is_signed ? (__u64)(__s64)(__s8)value : (__u8)value;
	case 2:
		return is_signed ? (__u64)(__s64)(__s16)value : (__u16)value;
	case 4:
		return is_signed ? (__u64)(__s64)(__s32)value : (__u32)value;
	default:
		return value;
	}
}

/* Read up to 8 bytes of the target's memory, faulting the page in if allowed. */
static __always_inline long read_memory(__u64 *value, __u8 size, __u64 addr)
{
	long err;

	if (size > 8)
		size = 8;
	err = bpf_probe_read_user(value, size, (void *)addr);
	if (err && sleepable)
		err = bpf_copy_from_user(value, size, (void *)addr);
	return err;
}

static __always_inline long fetch(void *ctx, const volatile struct operand *op, bool constant,
				  __u64 *out)
{
	__u64 value = op->value;
	long err = 0;

	if (op->kind == OPERAND_REG) {
		value = read_register(ctx, op->base, constant) >> (op->shift & 63);
	} else if (op->kind == OPERAND_MEM) {
		__u64 addr = value;

		if (op->has_base)
			addr += read_register(ctx, op->base, constant);
		if (op->has_index)
			addr += read_register(ctx, op->index, constant) << (op->shift & 63);
		value = 0;
		err = read_memory(&value, op->size, addr);
	}
	*out = fit(value, op->size, op->is_signed);
	return err;
}

/* Bring a page of the target in. Returns 0 when it can be read now. */
static __always_inline long touch(__u64 addr)
{
	char c;

	return bpf_copy_from_user(&c, 1, (void *)addr);
}

#define PAGE_MASK_4K 4095ULL

static __always_inline long read_string(char *dst, __u32 size, __u64 addr)
{
	long n = bpf_probe_read_user_str(dst, size, (void *)addr);

	if (n >= 0 || !sleepable)
		return n;
	/* Not resident: a string of STR_MAX bytes lies on two pages at most. */
	if (touch(addr))
		return n;
	n = bpf_probe_read_user_str(dst, size, (void *)addr);
	if (n >= 0 || touch((addr | PAGE_MASK_4K) + 1))
		return n;
	return bpf_probe_read_user_str(dst, size, (void *)addr);
}

static __always_inline long read_bytes(char *dst, __u32 size, __u64 addr)
{
	long err = bpf_probe_read_user(dst, size, (void *)addr);

	if (err && sleepable)
		err = bpf_copy_from_user(dst, size, (void *)addr);
	return err;
}

/*
 * Copies one string behind the slots and returns its length in bytes. `at` is
 * its place in the payload.
 */
static __always_inline __u32 copy_string(void *ctx, const volatile struct capture *cap,
					 bool constant, struct thread_state *st, __u32 at,
					 __u64 addr, __u16 *flags)
{
	__u32 max = cap->max;
	__u64 len = 0;
	long n;

	*flags = STRING_UNREADABLE;
	if (max > STR_MAX)
		max = STR_MAX;
	if (cap->type == CAPTURE_STR) {
		/* one byte more than is kept, so that a cut is seen */
		n = read_string((char *)st->payload + at, max + 2, addr);
		if (n <= 0)
			return 0;
		len = n - 1;
	} else {
		if (fetch(ctx, &cap->len, constant, &len))
			return 0;
		n = len > max ? max : len;
		if (read_bytes((char *)st->payload + at, n & 2047, addr))
			return 0;
	}
	*flags = len > max ? STRING_TRUNCATED : 0;
	return len > max ? max : len;
}

/* Captures one value into slot i; returns the bytes of strings used so far. */
static __always_inline __u32 capture(void *ctx, const volatile struct capture *cap, bool constant,
				     struct thread_state *st, __u32 i, __u32 ncaptures,
				     __u32 used)
{
	struct string_slot slot = { .offset = used };
	__u64 value = 0;
	long err = fetch(ctx, &cap->arg, constant, &value);

	if (i >= MAX_CAPTURES || ncaptures > MAX_CAPTURES)
		return used;
	if (cap->type == CAPTURE_INT) {
		*(__u64 *)&st->payload[i * 8] = value;
		return used;
	}
	if (err)
		slot.flags = STRING_UNREADABLE;
	else if (!value)
		slot.flags = STRING_NULL;
	else if (used > DATA_MAX)
		slot.flags = STRING_TRUNCATED;
	else
		slot.len = copy_string(ctx, cap, constant, st, ncaptures * 8 + used, value,
				       &slot.flags);
	*(struct string_slot *)&st->payload[i * 8] = slot;
	return used + (slot.len & 2047);
}

/* ---- one marker ---------------------------------------------------------- */

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

/* Counts the marker in its lane; rec->low is the lane's lowest depth before it. */
static __always_inline struct lane_state *advance(struct record *rec, struct thread_state *st,
						  __u8 lane, __u8 role)
{
	struct lane_state *ls;

	if (lane >= MAX_LANES) {
		rec->depth = 0;
		rec->low = 0;
		return NULL;
	}
	ls = &st->lanes[lane];
	rec->low = ls->low;
	ls->depth += role == ROLE_ENTER ? 1 : -1;
	if (ls->depth < ls->low)
		ls->low = ls->depth;
	rec->depth = ls->depth;
	return ls;
}

static __always_inline void fill(struct record *rec, struct task_struct *task)
{
	rec->tgid = task->tgid;
	rec->tid = task->pid;
	rec->type = RECORD_MARKER;
	rec->voluntary_switches = task->nvcsw;
	rec->involuntary_switches = task->nivcsw;
	rec->minor_faults = task->min_flt;
	rec->major_faults = task->maj_flt;
	rec->rss_pages = resident_pages(task->mm);
}

/*
 * The reader drains on a timer. It is woken when the ring fills, looked at
 * now and then, and at most once a wake_interval.
 */
static __always_inline __u64 wakeup(__u64 now, __u64 seq)
{
	if (wake_interval && now - last_wake > wake_interval) {
		last_wake = now;
		return BPF_RB_FORCE_WAKEUP;
	}
	if ((seq & 255) == 255 && bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA) > wake_bytes)
		return BPF_RB_FORCE_WAKEUP;
	return BPF_RB_NO_WAKEUP;
}

static __always_inline bool is_target(struct task_struct *task)
{
	__u32 tgid = view_tgid(task);

	return bpf_map_lookup_elem(&targets, &tgid) != NULL;
}

/* State of the current thread; NULL where the marker is not ours to record. */
static __always_inline struct thread_state *current_state(struct task_struct *task)
{
	struct thread_state *st;

	if (filter_processes) {
		st = bpf_task_storage_get(&threads, task, 0, 0);
		if (st)
			return st;
		if (!is_target(task))
			return NULL;
	}
	st = bpf_task_storage_get(&threads, task, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!st)
		lose(DROP_NO_STATE);
	return st;
}

static __always_inline bool is_told(struct thread_state *st, struct task_struct *task)
{
	const __u64 *comm = (const __u64 *)task->comm;

	return st->told && st->comm[0] == comm[0] && st->comm[1] == comm[1];
}

static __always_inline int finish(struct thread_state *st, struct task_struct *task,
				  const volatile struct site_spec *spec, __u32 used,
				  __u32 site)
{
	struct lane_state *ls = advance(&st->rec, st, spec->lane, spec->role);
	__u64 seq = st->seq++;
	__u32 size = spec->ncaptures * 8 + used;

	fill(&st->rec, task);
	st->rec.seq = seq;
	st->rec.site = site;
	st->rec.lane = spec->lane;
	st->rec.role = spec->role;
	st->rec.nslots = spec->ncaptures;
	if (!is_told(st, task) && tell_thread(st))
		return lose(DROP_MARKER);
	if (size > PAYLOAD_SIZE)
		size = PAYLOAD_SIZE;
	if (bpf_ringbuf_output(&ring, &st->rec, sizeof(struct record) + size,
			       wakeup(st->rec.time, seq)))
		return lose(DROP_MARKER);
	if (ls)
		ls->low = ls->depth;
	return 0;
}

SEC("uprobe")
int marker_one(void *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct thread_state *st = current_state(task);
	const volatile struct site_spec *spec = &constant_spec;
	__u32 used = 0;

	if (!st)
		return 0;
	st->rec.time = bpf_ktime_get_ns();
#pragma unroll
	for (__u32 i = 0; i < MAX_CAPTURES; i++) {
		if (i < spec->ncaptures)
			used = capture(ctx, &spec->captures[i], true, st, i, spec->ncaptures, used);
	}
	return finish(st, task, spec, used, (__u32)bpf_get_attach_cookie(ctx));
}

static __noinline __u32 capture_any(void *ctx, struct site_spec *spec, struct thread_state *st,
				    __u32 i, __u32 used)
{
	if (i >= MAX_CAPTURES)
		return used;
	return capture(ctx, &spec->captures[i], false, st, i, spec->ncaptures, used);
}

SEC("uprobe")
int marker_any(void *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct thread_state *st = current_state(task);
	__u64 cookie = bpf_get_attach_cookie(ctx);
	__u32 number = cookie >> 32;
	struct site_spec *spec;
	__u32 used = 0;

	if (!st)
		return 0;
	st->rec.time = bpf_ktime_get_ns();
	spec = bpf_map_lookup_elem(&argument_specs, &number);
	if (!spec)
		return 0;
	for (__u32 i = 0; i < MAX_CAPTURES; i++) {
		if (i >= spec->ncaptures)
			break;
		used = capture_any(ctx, spec, st, i, used);
	}
	return finish(st, task, spec, used, (__u32)cookie);
}

/* The floor of every measurement: what the kernel's trap alone costs. */
SEC("uprobe")
int marker_empty(void *ctx)
{
	return 0;
}

/* ---- lifecycle ----------------------------------------------------------- */

/* The dynamic linker of a target has changed its list of libraries. */
SEC("uprobe")
int library_change(void *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct thread_record tr = {};

	if (filter_processes && !is_target(task))
		return 0;
	stamp(&tr.rec, task, RECORD_LIBRARY);
	identify(task, &tr.who);
	send_lifecycle(&tr);
	return 0;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(process_fork, struct task_struct *parent, struct task_struct *child)
{
	struct thread_record tr = {};
	__u32 tgid;
	__u8 one = 1;

	if (!follow_forks || parent->tgid == child->tgid || !is_target(parent))
		return 0;
	tgid = view_tgid(child);
	if (bpf_map_update_elem(&targets, &tgid, &one, BPF_ANY))
		count_drop(DROP_LIFECYCLE);
	stamp(&tr.rec, parent, RECORD_FORK);
	identify(child, &tr.who);
	tr.rec.aux = child->tgid;
	send_lifecycle(&tr);
	return 0;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(process_exec, struct task_struct *task, int old_pid)
{
	struct thread_record tr = {};

	if (!is_target(task))
		return 0;
	stamp(&tr.rec, task, RECORD_EXEC);
	identify(task, &tr.who);
	tr.rec.aux = old_pid;
	send_lifecycle(&tr);
	return 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(process_exit, struct task_struct *task)
{
	struct thread_state *st = bpf_task_storage_get(&threads, task, 0, 0);
	struct thread_record tr = {};
	bool last = task->signal->live.counter == 0;
	__u32 tgid;

	if (!st && !(last && is_target(task)))
		return 0;
	stamp(&tr.rec, task, last ? RECORD_PROCESS_EXIT : RECORD_THREAD_EXIT);
	identify(task, &tr.who);
	tr.rec.seq = st ? st->seq : 0;
	tr.rec.aux = task->exit_code;
	if (last) {
		tgid = tr.who.view_tgid;
		bpf_map_delete_elem(&targets, &tgid);
	}
	send_lifecycle(&tr);
	return 0;
}

/* Run once by the loader, in its own process. */
SEC("syscall")
int locate_tracer(void *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();

	tracer_level = BPF_CORE_READ(task, thread_pid, level);
	return 0;
}
