/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * The few kernel types phasetrace reads, cut to the fields it reads. Offsets
 * come from the running kernel's BTF (CO-RE), never from here.
 */
#ifndef PHASETRACE_KERNEL_H
#define PHASETRACE_KERNEL_H

#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#define core_type __attribute__((preserve_access_index))

struct pid_namespace;

struct upid {
	int nr;
	struct pid_namespace *ns;
} core_type;

struct pid {
	unsigned int level;
	struct upid numbers[1];
} core_type;

typedef struct {
	int counter;
} atomic_t;

#define SIGNAL_GROUP_EXIT 4 /* include/linux/sched/signal.h */

struct signal_struct {
	atomic_t live;
	unsigned int flags;
	unsigned long long sum_sched_runtime; /* of threads that are gone */
} core_type;

struct sched_entity {
	__u64 sum_exec_runtime;
} core_type;

/* kernels from 6.2 on: one per-CPU counter a kind of page */
struct percpu_counter {
	__s64 count;
} core_type;

struct super_block {
	__u32 s_dev;
	unsigned long s_magic;
} core_type;

struct inode {
	unsigned short i_mode;
	unsigned long i_ino;
	struct super_block *i_sb;
	__u32 i_generation;
	__s64 i_size;
	__s64 i_ctime_sec;
	__u32 i_ctime_nsec;
} core_type;

struct timespec64 {
	__s64 tv_sec;
	long tv_nsec;
} core_type;

/* kernels 6.6 to 6.10 */
struct inode___6_6 {
	struct timespec64 __i_ctime;
} core_type;

/* kernels before 6.6 */
struct inode___old {
	struct timespec64 i_ctime;
} core_type;

struct file {
	struct inode *f_inode;
} core_type;

struct vm_operations_struct;
struct userfaultfd_ctx;

struct vm_userfaultfd_ctx { /* empty without CONFIG_USERFAULTFD */
	struct userfaultfd_ctx *ctx;
} core_type;

struct vm_area_struct {
	const struct vm_operations_struct *vm_ops;
	struct file *vm_file;
	struct vm_userfaultfd_ctx vm_userfaultfd_ctx;
} core_type;

struct mm_struct {
	atomic_t mm_users;
	struct percpu_counter rss_stat[4];
	struct file *exe_file;
	unsigned long start_stack;
	unsigned long arg_start;
	unsigned long arg_end;
	unsigned long env_end;
} core_type;

/* kernels before 6.2 */
struct mm_rss_stat___old {
	struct {
		__s64 counter;
	} count[4];
} core_type;

struct mm_struct___old {
	struct mm_rss_stat___old rss_stat;
} core_type;

struct task_struct {
	int pid;
	int tgid;
	int exit_code;
	unsigned long nvcsw;
	unsigned long nivcsw;
	unsigned long min_flt;
	unsigned long maj_flt;
	__u64 start_boottime;
	struct sched_entity se;
	char comm[16];
	struct task_struct *group_leader;
	struct pid *thread_pid;
	struct signal_struct *signal;
	struct mm_struct *mm;
} core_type;

/* include/linux/mm_types_task.h: order of the resident page counters */
enum {
	MM_FILEPAGES = 0,
	MM_ANONPAGES = 1,
	MM_SWAPENTS = 2,
	MM_SHMEMPAGES = 3,
};

#endif
