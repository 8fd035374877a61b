/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * The contract between the BPF programs and internal/loader: the state that
 * generated instructions fill in, and the records. Little endian, natural
 * alignment, no implicit padding. internal/loader checks its own view of every
 * struct against the BTF of the compiled object.
 */
#ifndef PHASETRACE_EVENT_H
#define PHASETRACE_EVENT_H

#define MAX_CAPTURES 12	  /* a USDT note has at most 12 arguments */
#define MAX_LANES 8	  /* independent stacks per thread */
#define NO_LANE 0xff	  /* keyed pairs take no part in a thread's depth */
#define STR_MAX 1024	  /* longest string that one capture may ask for, in bytes */
#define DATA_MAX 3072	  /* all strings of one record together, in bytes */
#define COMM_LEN 16	  /* TASK_COMM_LEN, include/linux/sched.h */
#define PAYLOAD_SIZE (MAX_CAPTURES * 8 + DATA_MAX + STR_MAX + 8)

enum site_role {
	ROLE_ENTER = 1,
	ROLE_EXIT = 2,
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
	__u64 seq;  /* markers: number of this one on its thread, from 0, lost ones counted;
		     * exits and execs: how many the thread has produced */
	__u32 tgid; /* of the initial pid namespace */
	__u32 tid;
	__u32 site; /* markers: its id in the low 20 bits, above them a bit for each integer that could
		     * not be read; forks: id of the parent in the tracer's pid namespace;
		     * execs: device of the new program's file */
	__u8 type;
	__u8 lane;
	__u8 nslots;
	__u8 role;
	__s32 depth; /* enters minus exits of this lane, this marker included; exits and execs: the present aux of markers */
	__s32 low;   /* lowest depth of this lane from its last delivered marker to before this one; execs: the former aux of markers */
	__u32 voluntary_switches; /* of the thread; low 32 bits of the kernel's counters */
	__u32 involuntary_switches;
	__u32 minor_faults; /* execs: inode number of the new program's file, low half */
	__u32 major_faults; /* execs: its high half */
	__u32 rss_pages; /* of the process; approximate where the kernel counts per CPU */
	__u32 aux;	 /* markers: tells the programs apart that this thread ran; exits: exit code; forks: host pid of the child */
};

/* A ring of one CPU (ring.h): this, then the records. Positions only grow; the
 * place of one is its remainder by the ring's size.
 */
#define RING_DATA 4096
#define RING_OVERHANG 8192

struct ring_header {
	__u64 head; /* where the next record is reserved */
	__u64 pad[255];
	__u64 tail; /* up to where the reader is done */
	__u64 pad2[255];
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
	__u32 used; /* bytes of payload */
	__u64 window; /* position in the ring of the first of its records that share counts */
	__u64 share;  /* bytes of its records in the ring, about */
	struct lane_state lanes[MAX_LANES];
	struct record rec;
	__u8 payload[PAYLOAD_SIZE]; /* slots, then strings; sent together with rec */
	struct thread_record own;   /* being sent: who the thread is, or that it has loaded a library */
};

/* Loss by thread: touched only when a record is lost. */
struct loss_key {
	__u64 start_time;
	__u32 tgid;
	__u32 tid;
};

/* An executable, as the kernel numbers it; user space hands back what it got. */
struct exe_key {
	__u64 ino;
	__u32 dev;
	__u32 waiting; /* in map held: its process has begun to wait; else 0 */
};

enum drop_counter {
	DROP_MARKER = 0,	/* ring full: marker records */
	DROP_LIFECYCLE = 1,	/* ring full: thread, exit, exec and fork records */
	DROP_NO_STATE = 2,	/* no memory for a thread's state: markers */
	DROP_UNATTRIBUTED = 3,	/* of the lost markers: those not kept by thread */
	DROP_COUNTERS = 4,
};

#endif
