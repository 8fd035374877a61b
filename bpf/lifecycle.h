/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * The lives of threads and processes, and the libraries they load: rare records
 * that wake the reader, so that it can act on them.
 */
#ifndef PHASETRACE_LIFECYCLE_H
#define PHASETRACE_LIFECYCLE_H

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

#endif
