/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Execs of files that nobody has looked at yet. At its first instruction, in
 * the dynamic linker, the new program waits until user space has attached to
 * it, and never longer than hold_time: its parent sees nothing, and no death of
 * the tracer can leave it waiting. User space may stop it meanwhile, which ends
 * the loop.
 *
 * The same goes for files with semaphores that cannot be raised before their
 * dynamic linker has relocated them: they wait at their own first code.
 *
 * The wait is a loop, because a BPF program cannot sleep for a time. It runs
 * outside of RCU readers and gives way to whoever wants the CPU (the attach it
 * waits for may want both), ends when its process is killed, and happens only
 * once a file.
 */
#ifndef PHASETRACE_HOLD_H
#define PHASETRACE_HOLD_H

#define HOLD_ROUNDS (1 << 23) /* BPF_MAX_LOOPS; more than fit in hold_time */

const volatile __u64 hold_time = 0; /* ns; 0: never wait */

/* Processes, by their id in the tracer's pid namespace, that are to wait. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct held_exec);
} held SEC(".maps");

/* Executables that need no wait; the oldest are forgotten. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct exe_key);
	__type(value, __u8);
} known_files SEC(".maps");

/* From 6.13 on the other bits of the nanoseconds are flags (I_CTIME_QUERIED). */
#define CTIME_NSEC_MASK ((1U << 30) - 1)

/* When an inode was last changed, ns; 0 where that cannot be told. */
static __always_inline __u64 changed_at(struct inode *inode)
{
	struct inode___6_6 *newer = (void *)inode;
	struct inode___old *old = (void *)inode;

	if (bpf_core_field_exists(inode->i_ctime_sec))
		return BPF_CORE_READ(inode, i_ctime_sec) * 1000000000ULL +
		       (BPF_CORE_READ(inode, i_ctime_nsec) & CTIME_NSEC_MASK);
	if (bpf_core_field_exists(newer->__i_ctime))
		return BPF_CORE_READ(newer, __i_ctime.tv_sec) * 1000000000ULL +
		       BPF_CORE_READ(newer, __i_ctime.tv_nsec);
	if (bpf_core_field_exists(old->i_ctime))
		return BPF_CORE_READ(old, i_ctime.tv_sec) * 1000000000ULL +
		       BPF_CORE_READ(old, i_ctime.tv_nsec);
	return 0;
}

/* Notes, at an exec, which file it is, and that the process is to wait for it. */
static __always_inline void prepare_hold(struct task_struct *task, __u32 tgid, struct exe_key *file)
{
	struct inode *inode = BPF_CORE_READ(task, mm, exe_file, f_inode);
	struct held_exec exec = {};

	file->ino = BPF_CORE_READ(inode, i_ino);
	file->changed = changed_at(inode);
	file->size = BPF_CORE_READ(inode, i_size);
	file->dev = BPF_CORE_READ(inode, i_sb, s_dev);
	file->generation = BPF_CORE_READ(inode, i_generation);
	if (!hold_time || bpf_map_lookup_elem(&known_files, file))
		return;
	exec.file = *file;
	bpf_map_update_elem(&held, &tgid, &exec, BPF_ANY);
}

struct hold {
	__u64 stack;
	__u64 until;
	__u32 tgid;
	__u32 timed_out;
};

/*
 * Reading memory the way a debugger does gives way to others, also on kernels that
 * do not preempt themselves (__get_user_pages, mm/gup.c). The result does not
 * matter. The memory is the target's choice: it can run the linker's entry by
 * itself, with any memory mapped at its stack. read_absent refuses memory that it
 * could keep back. Nothing is read while other threads could change the mapping.
 */
static __always_inline void give_way(struct task_struct *task, __u64 addr)
{
	char c;

	if (BPF_CORE_READ(task, mm, mm_users.counter) == 1)
		read_absent(&c, 1, addr);
}

static long hold_round(__u32 round, struct hold *h)
{
	struct task_struct *task = bpf_get_current_task_btf();

	if (!bpf_map_lookup_elem(&held, &h->tgid))
		return 1;
	give_way(task, h->stack);
	h->timed_out = bpf_ktime_get_ns() > h->until;
	return h->timed_out || BPF_CORE_READ(task, signal, flags) & SIGNAL_GROUP_EXIT;
}

/* Waits until user space lets the process go; false: in vain. */
static __noinline int await_release(__u32 tgid)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct hold h = { .tgid = tgid };

	h.stack = BPF_CORE_READ(task, mm, start_stack);
	h.until = bpf_ktime_get_ns() + hold_time;
	bpf_loop(HOLD_ROUNDS, hold_round, &h, 0);
	return !h.timed_out;
}

/* The entry point of a dynamic linker: the first instruction of a program. */
SEC("uprobe")
int exec_hold(void *ctx)
{
	__u32 tgid = view_tgid(bpf_get_current_task_btf());
	struct held_exec *found = bpf_map_lookup_elem(&held, &tgid);
	__u8 one = 1;

	if (!found)
		return 0;
	found->waiting = 1;
	if (await_release(tgid))
		return 0;
	found = bpf_map_lookup_elem(&held, &tgid);
	if (found) { /* once a file is enough */
		bpf_map_update_elem(&known_files, &found->file, &one, BPF_ANY);
		bpf_map_delete_elem(&held, &tgid);
	}
	return 0;
}

/* Not on the stack, which is too small for it (see TestStacksStayWithTheTask). */
static const struct held_exec held_at_start = { .waiting = 1 };

/*
 * The first code of a file that can only be attached now. Every process has to
 * wait here, so a wait in vain is the same again the next time.
 */
SEC("uprobe")
int file_start(void *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct thread_state *st;
	__u32 tgid;

	if (!is_target(task))
		return 0;
	st = bpf_task_storage_get(&threads, task, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!st) {
		count_drop(DROP_LIFECYCLE);
		return 0;
	}
	tgid = view_tgid(task);
	stamp(&st->file_start, task, RECORD_FILE_START);
	identify(task, &st->file_start.who);
	if (hold_time)
		bpf_map_update_elem(&held, &tgid, &held_at_start, BPF_ANY);
	if (!send_lifecycle(&st->file_start, sizeof(st->file_start)) && hold_time)
		await_release(tgid);
	bpf_map_delete_elem(&held, &tgid);
	return 0;
}

#endif
