//go:build ignore

/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * One hit of a marker: fetch the arguments as the site's spec says, bring the
 * thread's state forward, put one record into the ring buffer.
 *
 * Knows sites, threads and processes; nothing of phases or of how pairs are
 * named. How a site's arguments are found is not data that is interpreted at
 * every hit: internal/loader writes the body of fetch_arguments anew for the
 * sites of each program it loads.
 */
/*
 * No function that a uprobe runs may have more than 48 bytes of stack. From Linux
 * 6.13 on, functions with 64 and more get one that belongs to the CPU, not to the
 * task (BPF_PRIV_STACK_MIN_SIZE in kernel/bpf/verifier.c): two threads that hit
 * such a program write over each other's when one sleeps or is preempted in it.
 * What needs more room is kept in the thread's own memory. internal/loader tests
 * every program it loads.
 */
#include "kernel.h"
#include "event.h"
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "Dual MIT/GPL";

#define EFAULT 14
#define NSEC_PER_MSEC 1000000ULL

/* Set by the loader before loading. */
const volatile __u8 sleepable = 0;	  /* bpf_copy_from_user is allowed */
const volatile __u8 filter_processes = 0; /* attached without a PID: look at targets */
const volatile __u8 follow_forks = 0;

/* The tracer's pid namespace and its level, found by locate_tracer. */
__u64 tracer_ns = 0;
__u32 tracer_level = 0;

#include "ring.h"

/* Types of event.h reach the Go side through BTF only when something global uses them. */
const struct thread_record *unused_thread_record __attribute__((unused));
const struct ring_header *unused_ring_header __attribute__((unused));
const struct string_slot *unused_string_slot __attribute__((unused));
const enum site_role *unused_site_role __attribute__((unused));
const enum record_type *unused_record_type __attribute__((unused));
const enum string_flag *unused_string_flag __attribute__((unused));
const enum drop_counter *unused_drop_counter __attribute__((unused));

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct thread_state);
} threads SEC(".maps");

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

/* What a task is called in the pid namespace at a level; false where it has no
 * name there.
 */
static __always_inline bool pid_at(struct task_struct *task, __u32 level, __u32 *nr, __u64 *ns)
{
	struct pid *pid = BPF_CORE_READ(task, thread_pid);
	struct upid *upid;

	if (!pid || level > BPF_CORE_READ(pid, level))
		return false;
	upid = (void *)pid + bpf_core_field_offset(pid->numbers) +
	       level * bpf_core_type_size(struct upid);
	*nr = BPF_CORE_READ(upid, nr);
	*ns = (__u64)BPF_CORE_READ(upid, ns);
	return true;
}

/* Id of a task in the tracer's pid namespace; 0 where it has none: another
 * namespace of the same level numbers its processes alike.
 */
static __always_inline __u32 view_id(struct task_struct *task)
{
	__u32 nr;
	__u64 ns;

	return pid_at(task, tracer_level, &nr, &ns) && ns == tracer_ns ? nr : 0;
}

static __noinline __u32 view_tgid(struct task_struct *task)
{
	return view_id(BPF_CORE_READ(task, group_leader));
}

static __noinline int identify(struct task_struct *task, struct identity *who)
{
	struct task_struct *leader = BPF_CORE_READ(task, group_leader);
	__u32 inner = BPF_CORE_READ(task, thread_pid, level);
	__u64 ns;

	who->start_time = BPF_CORE_READ(task, start_boottime);
	BPF_CORE_READ_INTO(&who->comm, task, comm);
	who->view_tgid = view_id(leader);
	who->view_tid = view_id(task);
	pid_at(leader, inner, &who->inner_tgid, &ns);
	pid_at(task, inner, &who->inner_tid, &ns);
	return 0;
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
	long err = send_thread_record(tr, BPF_RB_FORCE_WAKEUP);

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
	struct thread_record *tr;

	if (!st)
		return -1;
	tr = &st->own;
	stamp(&tr->rec, task, RECORD_THREAD);
	identify(task, &tr->who);
	st->start_time = tr->who.start_time;
	st->rec.tgid = tr->rec.tgid;
	st->rec.tid = tr->rec.tid;
	__builtin_memcpy(st->comm, tr->who.comm, COMM_LEN);
	if (send_thread_record(tr, BPF_RB_NO_WAKEUP))
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

/* Bring a page of the target in. Returns 0 when it can be read now. */
static __always_inline long touch(__u64 addr)
{
	char c;

	return bpf_copy_from_user(&c, 1, (void *)addr);
}

#define PAGE_MASK_4K 4095ULL

static __noinline long read_absent_string(char *dst, __u32 size, __u64 addr)
{
	long n = -EFAULT;

	/* A string of STR_MAX bytes lies on two pages at most. */
	if (!dst || size > STR_MAX + 2 || touch(addr))
		return n;
	n = bpf_probe_read_user_str(dst, size, (void *)addr);
	if (n >= 0 || touch((addr | PAGE_MASK_4K) + 1))
		return n;
	return bpf_probe_read_user_str(dst, size, (void *)addr);
}

/* Writes slot i, of a string of which `len` bytes are kept behind `st->used`. */
static __always_inline int set_slot(struct thread_state *st, __u32 i, __u32 len, __u16 flags)
{
	struct string_slot slot = {
		.len = len,
		.offset = st->used - st->rec.nslots * 8,
		.flags = flags,
	};

	*(struct string_slot *)&st->payload[i * 8] = slot;
	st->used += len;
	return 0;
}

/*
 * Copies a NUL-terminated string of at most max bytes behind the slots, and
 * tells of it in slot i. Called by generated instructions.
 */
static __noinline int copy_string(struct thread_state *st, __u32 i, __u64 addr, __u32 max)
{
	__u32 at;
	char *dst;
	long n;

	if (!st || i >= MAX_CAPTURES || max > STR_MAX)
		return 0;
	at = st->used;
	if (at > MAX_CAPTURES * 8 + DATA_MAX)
		return set_slot(st, i, 0, STRING_TRUNCATED);
	dst = (char *)st->payload + at;
	/* one byte more than is kept, so that a cut is seen */
	n = bpf_probe_read_user_str(dst, max + 2, (void *)addr);
	if (n < 0 && sleepable)
		n = read_absent_string(dst, max + 2, addr);
	if (n <= 0)
		return set_slot(st, i, 0, STRING_UNREADABLE);
	if (n - 1 > max)
		return set_slot(st, i, max, STRING_TRUNCATED);
	return set_slot(st, i, n - 1, 0);
}

/* The same for a string that comes with its length. */
static __noinline int copy_bytes(struct thread_state *st, __u32 i, __u64 addr, __u32 max, __u64 len)
{
	__u32 n = len > max ? max : len;
	__u32 at;
	char *dst;
	long err;

	if (!st || i >= MAX_CAPTURES || n > STR_MAX)
		return 0;
	at = st->used;
	if (at > MAX_CAPTURES * 8 + DATA_MAX)
		return set_slot(st, i, 0, STRING_TRUNCATED);
	dst = (char *)st->payload + at;
	err = bpf_probe_read_user(dst, n, (void *)addr);
	if (err && sleepable)
		err = bpf_copy_from_user(dst, n, (void *)addr);
	if (err)
		return set_slot(st, i, 0, STRING_UNREADABLE);
	return set_slot(st, i, n, len > max ? STRING_TRUNCATED : 0);
}

#define opaque(value) asm volatile("" : "+r"(value))

/*
 * Fetches what a site captures: fills the payload's slots, st->used, and type,
 * lane, nslots and role of the record. `spec` is the number, in its program, of
 * the way in which the site is read.
 *
 * This body is never loaded; internal/loader/generate.go writes the one that
 * is. It calls what the generated one may call, so that it is linked.
 */
static __noinline int fetch_arguments(void *ctx, struct thread_state *st, __u32 spec)
{
	__u64 addr = (__u64)ctx, len = spec;
	__u32 i = spec, max = spec;

	opaque(addr);
	opaque(len);
	opaque(i);
	opaque(max);
	copy_string(st, i, addr, max);
	copy_bytes(st, i, addr, max, len);
	return 0;
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
	rec->voluntary_switches = task->nvcsw;
	rec->involuntary_switches = task->nivcsw;
	rec->minor_faults = task->min_flt;
	rec->major_faults = task->maj_flt;
	rec->rss_pages = resident_pages(task->mm);
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

SEC("uprobe")
int marker(void *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct thread_state *st = current_state(task);
	__u64 cookie = bpf_get_attach_cookie(ctx);
	struct ring_header *r = NULL;
	struct lane_state *ls;

	if (!st)
		return 0;
	st->rec.time = bpf_ktime_get_ns();
	st->rec.site = cookie;
	if (ring_bytes) {
		r = cpu_ring();
		if (r)
			approach(r);
	}
	fetch_arguments(ctx, st, cookie >> 32);
	ls = advance(&st->rec, st, st->rec.lane, st->rec.role);
	st->rec.seq = st->seq++;
	fill(&st->rec, task);
	if (!is_told(st, task) && tell_thread(st))
		return lose(DROP_MARKER);
	if (send_marker(st, r))
		return lose(DROP_MARKER);
	if (ls)
		ls->low = ls->depth;
	return 0;
}

/* The floor of every measurement: what the kernel's trap alone costs. */
SEC("uprobe")
int marker_empty(void *ctx)
{
	return 0;
}

/* Loads where rings of our own can be used: an exchange that tells what was there. */
SEC("uprobe")
int exchange(void *ctx)
{
	__u64 value = 1;

	return __sync_val_compare_and_swap(&value, 1, 2) + __sync_lock_test_and_set(&value, 3);
}

#include "hold.h"

#include "aggregate.h"

/* ---- lifecycle ----------------------------------------------------------- */

/* The dynamic linker of a target has changed its list of libraries. */
SEC("uprobe")
int library_change(void *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct thread_state *st;

	if (filter_processes && !is_target(task))
		return 0;
	st = bpf_task_storage_get(&threads, task, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!st) {
		count_drop(DROP_LIFECYCLE);
		return 0;
	}
	stamp(&st->own.rec, task, RECORD_LIBRARY);
	identify(task, &st->own.who);
	send_lifecycle(&st->own);
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
	tr.rec.site = view_tgid(parent);
	send_lifecycle(&tr);
	return 0;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(process_exec, struct task_struct *task, int old_pid)
{
	struct thread_state *st = bpf_task_storage_get(&threads, task, 0, 0);
	struct thread_record tr = {};
	struct exe_key key = {};
	__u64 start = 0;

	/* A thread that execs takes its process's first id: it has to be told anew.
	 * What was open is over, and markers say so should this record be lost.
	 */
	if (st) {
		st->told = 0;
		tr.rec.low = st->rec.aux;
		st->rec.aux = bpf_ktime_get_ns();
		start = st->start_time;
		__builtin_memset(st->lanes, 0, sizeof(st->lanes));
	}
	if (!is_target(task))
		return 0;
	stamp(&tr.rec, task, RECORD_EXEC);
	identify(task, &tr.who);
	if (st)
		st->start_time = tr.who.start_time;
	prepare_hold(task, tr.who.view_tgid, &key);
	tr.rec.aux = old_pid;
	tr.rec.seq = st ? st->seq : 0;
	tr.rec.depth = st ? st->rec.aux : 0;
	tr.rec.voluntary_switches = start;
	tr.rec.involuntary_switches = start >> 32;
	tr.rec.site = key.dev;
	tr.rec.minor_faults = key.ino;
	tr.rec.major_faults = key.ino >> 32;
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
	tr.rec.depth = st ? st->rec.aux : 0;
	tr.rec.aux = task->exit_code;
	if (last) {
		tgid = tr.who.view_tgid;
		bpf_map_delete_elem(&targets, &tgid);
		bpf_map_delete_elem(&held, &tgid);
	}
	send_lifecycle(&tr);
	return 0;
}

/* Run once by the loader, in its own process. */
SEC("syscall")
int locate_tracer(void *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();
	__u32 nr;

	tracer_level = BPF_CORE_READ(task, thread_pid, level);
	pid_at(task, tracer_level, &nr, &tracer_ns);
	return 0;
}
