/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Execs of files that nobody has looked at yet. At its first instruction, in
 * the dynamic linker, the new program waits until user space has attached to
 * it, and never longer than hold_time: nothing stops it, its parent sees
 * nothing, and no death of the tracer can leave it waiting.
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
	__type(value, struct exe_key);
} held SEC(".maps");

/* Executables that need no wait; the oldest are forgotten. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct exe_key);
	__type(value, __u8);
} known_files SEC(".maps");

/* When a file, or what is known of it, was last changed, ns of its file system's
 * clock. The names of the fields have changed twice.
 */
static __always_inline __u64 changed_at(struct inode *inode)
{
	struct inode___wrapped *wrapped = (void *)inode;
	struct inode___old *old = (void *)inode;
	struct timespec64 t;

	if (bpf_core_field_exists(inode->i_ctime_sec))
		return BPF_CORE_READ(inode, i_ctime_sec) * 1000000000ULL +
		       (BPF_CORE_READ(inode, i_ctime_nsec) & ~I_CTIME_QUERIED);
	if (bpf_core_field_exists(wrapped->__i_ctime))
		t = BPF_CORE_READ(wrapped, __i_ctime);
	else
		t = BPF_CORE_READ(old, i_ctime);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

/* Notes, at an exec, which file it is, and that the process is to wait for it. */
static __always_inline void prepare_hold(struct task_struct *task, __u32 tgid, struct exe_key *key)
{
	struct inode *inode = BPF_CORE_READ(task, mm, exe_file, f_inode);

	key->ino = BPF_CORE_READ(inode, i_ino);
	key->dev = BPF_CORE_READ(inode, i_sb, s_dev);
	key->size = BPF_CORE_READ(inode, i_size);
	key->changed = changed_at(inode);
	if (hold_time && !bpf_map_lookup_elem(&known_files, key))
		bpf_map_update_elem(&held, &tgid, key, BPF_ANY);
}

struct hold {
	__u64 stack;
	__u64 until;
	__u32 tgid;
	__u32 timed_out;
};

/*
 * Reading memory in the way of another process's is what gives way, on kernels
 * that do not preempt themselves (__get_user_pages, mm/gup.c). What comes of it
 * does not matter.
 */
static long hold_round(__u32 round, struct hold *h)
{
	struct task_struct *task = bpf_get_current_task_btf();
	char c;

	if (!bpf_map_lookup_elem(&held, &h->tgid))
		return 1;
	bpf_copy_from_user_task(&c, 1, (void *)h->stack, task, 0);
	h->timed_out = bpf_ktime_get_ns() > h->until;
	return h->timed_out || BPF_CORE_READ(task, signal, flags) & SIGNAL_GROUP_EXIT;
}

/* The entry point of a dynamic linker: the first instruction of a program. */
SEC("uprobe")
int exec_hold(void *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct hold h = { .tgid = view_tgid(task) };
	struct exe_key *found = bpf_map_lookup_elem(&held, &h.tgid);
	__u8 one = 1;

	if (!found)
		return 0;
	found->waiting = 1;
	h.stack = BPF_CORE_READ(task, mm, start_stack);
	h.until = bpf_ktime_get_ns() + hold_time;
	bpf_loop(HOLD_ROUNDS, hold_round, &h, 0);
	if (!h.timed_out)
		return 0;
	found = bpf_map_lookup_elem(&held, &h.tgid);
	if (found) { /* once a file is enough */
		found->waiting = 0;
		bpf_map_update_elem(&known_files, found, &one, BPF_ANY);
		bpf_map_delete_elem(&held, &h.tgid);
	}
	return 0;
}

#endif
