/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * The contract between the BPF programs and internal/loader: site specs going
 * down, records coming up. Little endian, natural alignment, no implicit
 * padding. internal/loader checks its own view of every struct against the
 * BTF of the compiled object.
 */
#ifndef PHASETRACE_EVENT_H
#define PHASETRACE_EVENT_H

#define MAX_CAPTURES 12	  /* a USDT note has at most 12 arguments */
#define MAX_SPECS 1024	  /* distinct ways to read arguments in one run */
#define MAX_LANES 8	  /* independent stacks per thread */
#define NO_LANE 0xff	  /* keyed pairs take no part in a thread's depth */
#define STR_MAX 1024	  /* longest string that one capture may ask for, in bytes */
#define DATA_MAX 3072	  /* all strings of one record together, in bytes */
#define COMM_LEN 16	  /* TASK_COMM_LEN, include/linux/sched.h */

enum operand_kind {
	OPERAND_CONST = 1,
	OPERAND_REG = 2,
	OPERAND_MEM = 3,
};

/* Where one argument is found. Registers are named by their offset in the
 * pt_regs of the machine; OPERAND_MEM reads at base + (index << shift) + value.
 */
struct operand {
	__s64 value;	 /* constant, or displacement */
	__u16 base;	 /* pt_regs offset in bytes */
	__u16 index;
	__u8 kind;
	__u8 size;	 /* 1, 2, 4 or 8 bytes */
	__u8 is_signed;
	__u8 shift;	 /* of the index; of a register: right shift in bits (8 for %ah) */
	__u8 has_base;
	__u8 has_index;
	__u8 pad[6];
};

enum capture_type {
	CAPTURE_NONE = 0,
	CAPTURE_INT = 1,
	CAPTURE_STR = 2,   /* NUL-terminated */
	CAPTURE_BYTES = 3, /* pointer and length */
};

struct capture {
	struct operand arg;
	struct operand len; /* CAPTURE_BYTES only */
	__u16 max;	    /* longest string to keep, in bytes, <= STR_MAX */
	__u8 type;
	__u8 pad[5];
};

enum site_role {
	ROLE_ENTER = 1,
	ROLE_EXIT = 2,
};

struct site_spec {
	__u8 role;
	__u8 lane;
	__u8 ncaptures;
	__u8 pad[5];
	struct capture captures[MAX_CAPTURES];
};

enum record_type {
	RECORD_MARKER = 1,
	RECORD_THREAD = 2,	 /* a thread's identity; precedes its first marker */
	RECORD_THREAD_EXIT = 3,
	RECORD_PROCESS_EXIT = 4, /* the last thread of a process ended */
	RECORD_EXEC = 5,
	RECORD_FORK = 6,
	RECORD_LIBRARY = 7,	 /* the dynamic linker changed its list */
};

/* 64 bytes; a marker's captures follow: one 8-byte slot each, then the bytes
 * of the strings.
 */
struct record {
	__u64 time; /* ns, CLOCK_MONOTONIC */
	__u64 seq;  /* markers: number of this one on its thread, from 0, lost ones counted */
	__u32 tgid; /* of the initial pid namespace */
	__u32 tid;
	__u32 site;
	__u8 type;
	__u8 lane;
	__u8 nslots;
	__u8 role;
	__s32 depth; /* enters minus exits of this lane, this marker included */
	__s32 low;   /* lowest depth of this lane from its last delivered marker to before this one */
	__u32 voluntary_switches; /* of the thread; low 32 bits of the kernel's counters */
	__u32 involuntary_switches;
	__u32 minor_faults;
	__u32 major_faults;
	__u32 rss_pages; /* of the process; approximate where the kernel counts per CPU */
	__u32 aux;	 /* exits: exit code; forks: host pid of the child */
};

enum string_flag {
	STRING_TRUNCATED = 1,
	STRING_UNREADABLE = 2,
	STRING_NULL = 4,
};

/* A string's slot: its bytes lie at `offset` from the end of the slots. */
struct string_slot {
	__u16 len;
	__u16 offset;
	__u16 flags;
	__u16 pad;
};

/* Follows struct record in RECORD_THREAD, _EXEC and _FORK: who it is. */
struct identity {
	__u64 start_time;  /* ns since boot: tells reused ids apart */
	char comm[COMM_LEN];
	__u32 view_tgid;   /* ids in the pid namespace of the tracer */
	__u32 view_tid;
	__u32 inner_tgid;  /* ids in the thread's own pid namespace */
	__u32 inner_tid;
};

struct thread_record {
	struct record rec;
	struct identity who;
};

/* Loss by thread: touched only when a record is lost. */
struct loss_key {
	__u64 start_time;
	__u32 tgid;
	__u32 tid;
};

enum drop_counter {
	DROP_MARKER = 0,	/* ring full: marker records */
	DROP_LIFECYCLE = 1,	/* ring full: thread, exit, exec and fork records */
	DROP_NO_STATE = 2,	/* no memory for a thread's state: markers */
	DROP_UNATTRIBUTED = 3,	/* of the lost markers: those not kept by thread */
	DROP_COUNTERS = 4,
};

#endif
