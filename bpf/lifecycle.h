/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * The lives of threads and processes, and the libraries they load: rare records
 * that wake the reader, so that it can act on them.
 */
#ifndef PHASETRACE_LIFECYCLE_H
#define PHASETRACE_LIFECYCLE_H

#include "library.h"

SEC("tp_btf/sched_process_fork")
int BPF_PROG(process_fork, struct task_struct *parent, struct task_struct *child)
{
	struct fork_record rec = {};
	__u32 tgid;
	__u8 one = 1;

	if (!follow_forks || parent->tgid == child->tgid || !is_target(parent))
		return 0;
	tgid = view_tgid(child);
	if (bpf_map_update_elem(&targets, &tgid, &one, BPF_ANY))
		count_drop(DROP_LIFECYCLE);
	stamp(&rec, parent, RECORD_FORK);
	identify(child, &rec.who);
	rec.child = child->tgid;
	rec.parent = view_tgid(parent);
	send_lifecycle(&rec, sizeof(rec));
	return 0;
}

/* Makes a process a target that runs a wanted executable. */
static __noinline int take_wanted(struct task_struct *task)
{
	__u64 ino = BPF_CORE_READ(task, mm, exe_file, f_inode, i_ino);
	__u32 tgid = view_tgid(task);
	__u8 one = 1;

	if (!tgid || !bpf_map_lookup_elem(&wanted, &ino))
		return 0;
	if (bpf_map_update_elem(&targets, &tgid, &one, BPF_ANY)) {
		count_drop(DROP_LIFECYCLE);
		return 0;
	}
	return 1;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(process_exec, struct task_struct *task, int old_pid)
{
	struct thread_state *st = bpf_task_storage_get(&threads, task, 0, 0);
	struct exec_record rec = {};

	/* A thread that execs takes its process's first id: it has to be told anew.
	 * What was open is over, and markers say so should this record be lost.
	 */
	if (st) {
		st->told = 0;
		rec.before = st->rec.program;
		st->rec.program = bpf_ktime_get_ns();
		rec.program = st->rec.program;
		rec.markers = st->seq;
		rec.former_start = st->start_time;
		__builtin_memset(st->lanes, 0, sizeof(st->lanes));
	}
	if (!is_target(task) && !(want_executables && take_wanted(task)))
		return 0;
	start_objects(task);
	stamp(&rec, task, RECORD_EXEC);
	identify(task, &rec.who);
	if (st)
		st->start_time = rec.who.start_time;
	prepare_hold(task, rec.who.view_tgid, &rec.file);
	rec.former_tid = old_pid;
	send_lifecycle(&rec, sizeof(rec));
	return 0;
}

/* The CPU time of a process, of which task is the last thread: the first one is a
 * zombie by now if it is another. What the thread has used since the scheduler
 * last looked is missing.
 */
static __always_inline __u64 cpu_time(struct task_struct *task)
{
	__u64 ns = task->signal->sum_sched_runtime + task->se.sum_exec_runtime;

	if (task->group_leader != task)
		ns += task->group_leader->se.sum_exec_runtime;
	return ns;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(process_exit, struct task_struct *task)
{
	struct thread_state *st = bpf_task_storage_get(&threads, task, 0, 0);
	struct process_exit_record rec = {};
	bool last = task->signal->live.counter == 0;
	__u32 tgid;

	if (!st && !(last && is_target(task)))
		return 0;
	stamp(&rec.thread, task, last ? RECORD_PROCESS_EXIT : RECORD_THREAD_EXIT);
	identify(task, &rec.thread.who);
	if (st) {
		rec.thread.program = st->rec.program;
		rec.thread.markers = st->seq;
	}
	if (!last) {
		send_lifecycle(&rec.thread, sizeof(rec.thread));
		return 0;
	}
	forget_objects(task);
	rec.status = task->exit_code;
	rec.cpu_time = cpu_time(task);
	tgid = rec.thread.who.view_tgid;
	bpf_map_delete_elem(&targets, &tgid);
	bpf_map_delete_elem(&held, &tgid);
	send_lifecycle(&rec, sizeof(rec));
	return 0;
}

#endif
