/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Whose markers they are: threads and their state, processes that are traced,
 * ids in the tracer's pid namespace, and what of each thread was lost.
 */
#ifndef PHASETRACE_THREAD_H
#define PHASETRACE_THREAD_H

/* The tracer's pid namespace and its level, found by locate_tracer. */
__u64 tracer_ns = 0;
__u32 tracer_level = 0;

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct thread_state);
} threads SEC(".maps");

/* Traced processes by their id in the tracer's pid namespace. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, __u8);
} targets SEC(".maps");

/* Inodes of executables of which every process is traced, whoever starts it. File
 * systems tell user space other device numbers than those that are found here, so
 * user space has another look at who has come.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, __u64);
	__type(value, __u8);
} wanted SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, DROP_COUNTERS);
	__type(key, __u32);
	__type(value, __u64);
} drops SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
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

/* Fills a record's head. */
#define stamp(rec, task, kind)                            \
	do {                                              \
		(rec)->time = bpf_ktime_get_ns();         \
		(rec)->tgid = BPF_CORE_READ(task, tgid);  \
		(rec)->tid = BPF_CORE_READ(task, pid);    \
		(rec)->type = (kind);                     \
	} while (0)

/* Lifecycle records are rare and wake the reader, so that it can act on them. */
static __always_inline long send_lifecycle(const void *rec, __u32 size)
{
	long err = send_record(rec, size, BPF_RB_FORCE_WAKEUP);

	if (err)
		count_drop(DROP_LIFECYCLE);
	return err;
}

/* Reads where servers write what a process is for, as it is at the thread's first
 * marker: one that lives shortly is gone before anybody else could look.
 */
static __noinline int read_arguments(struct thread_record *tr, struct task_struct *task)
{
	struct mm_struct *mm = BPF_CORE_READ(task, mm);
	__u64 from = BPF_CORE_READ(mm, arg_start);
	__u64 left = BPF_CORE_READ(mm, env_end) - from;
	__u32 n = left > ARGUMENTS_LEN ? ARGUMENTS_LEN : left;

	tr->arguments_size = BPF_CORE_READ(mm, arg_end) - from;
	tr->arguments_len = 0;
	if (n > ARGUMENTS_LEN || bpf_probe_read_user(tr->arguments, n, (void *)from))
		return 0;
	tr->arguments_len = n;
	return 0;
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
	tr = &st->thread;
	stamp(tr, task, RECORD_THREAD);
	identify(task, &tr->who);
	read_arguments(tr, task);
	st->start_time = tr->who.start_time;
	st->rec.tgid = tr->tgid;
	st->rec.tid = tr->tid;
	__builtin_memcpy(st->comm, tr->who.comm, COMM_LEN);
	if (send_record(tr, sizeof(*tr), BPF_RB_NO_WAKEUP))
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

#endif
