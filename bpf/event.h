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

enum record_type {
	RECORD_ENTER = 1,	 /* markers: struct marker_record; numbered as probe.Effect */
	RECORD_EXIT = 2,
	RECORD_POINT = 3,
	RECORD_THREAD = 4,	 /* a thread's identity; precedes its first marker */
	RECORD_THREAD_EXIT = 5,
	RECORD_PROCESS_EXIT = 6, /* the last thread of a process ended */
	RECORD_EXEC = 7,
	RECORD_FORK = 8,
	RECORD_LIBRARY = 9,	 /* the dynamic linker changed its list */
	RECORD_FILE_START = 10,	 /* a watched file is about to run its first code */
};

/* How every record begins; readers merge by the time. */
#define RECORD_HEAD                                                    \
	__u64 time; /* ns, CLOCK_MONOTONIC */                          \
	__u32 tgid; /* of the thread that the record is of, in the */  \
	__u32 tid;  /* initial pid namespace */                        \
	__u8 type

/* A hit of a site. One 8-byte slot for each of its captures follows, then the
 * bytes of the strings.
 */
struct marker_record {
	RECORD_HEAD;
	__u8 lane;	  /* NO_LANE for keyed pairs and points */
	__u16 unreadable; /* a bit for each slot whose integer could not be read */
	__u32 site;
	__u64 seq;	  /* number of this one on its thread, from 0, lost ones counted */
	__s32 depth;	  /* enters minus exits of this lane, this marker included; points: 0 */
	__s32 low;	  /* lowest depth of this lane from its last delivered marker to before this one; points: 0 */
	__u32 voluntary_switches; /* of the thread; low 32 bits of the kernel's counters */
	__u32 involuntary_switches;
	__u32 minor_faults;
	__u32 major_faults;
	__u32 rss_pages;  /* of the process; approximate where the kernel counts per CPU */
	__u32 program;	  /* tells the programs apart that this thread has run; 0 for the first */
};

_Static_assert(sizeof(struct marker_record) == 64, "a marker's record is eight words");

enum string_flag {
	STRING_TRUNCATED = 1,
	STRING_UNREADABLE = 2,
	STRING_NULL = 4,
	STRING_CONSTANT = 8, /* not copied: the slot is a struct constant_slot */
};

/*
 * What the kernel hands to a marker program: which site it is, how it is read, and
 * where strings lie that need not be copied. Bits of the attach cookie, the lowest
 * first.
 */
enum cookie_bits {
	COOKIE_SITE = 20,
	COOKIE_SPEC = 6,
	COOKIE_NEAR = 19, /* pages from that of the site to the first of the constant ones, signed */
	COOKIE_PAGES = 19, /* how many of them, 0 for none */
};

/* The slot of a string in constant memory. */
struct constant_slot {
	__u32 at; /* bytes behind the first constant page */
	__u16 flags;
	__u16 pad;
};

/* A string's slot. */
struct string_slot {
	__u16 len;
	__u16 offset; /* of its bytes from the first slot; means nothing where there are none */
	__u16 flags;
	__u16 pad;
};

/* Who a thread is. */
struct identity {
	__u64 start_time; /* ns since boot: tells reused ids apart */
	char comm[COMM_LEN];
	__u32 view_tgid;  /* ids in the pid namespace of the tracer */
	__u32 view_tid;
	__u32 inner_tgid; /* ids in the thread's own pid namespace */
	__u32 inner_tid;
};

/*
 * An executable, as the kernel numbers it; user space hands back what it got.
 * Inode numbers are used again, hence the generation, and not every file system
 * keeps one: the time of the last change tells such files apart too, and a file
 * that was written over.
 */
struct exe_key {
	__u64 ino;
	__u64 changed; /* ns, CLOCK_REALTIME: of its last change (ctime) */
	__u64 size;    /* bytes */
	__u32 dev;
	__u32 generation;
};

/* A process that is to wait after exec. */
struct held_exec {
	struct exe_key file;
	__u32 waiting; /* it has begun to */
	__u32 pad;
};

#define ARGUMENTS_LEN 128 /* bytes of a process's arguments that are looked at */

/* The start of the memory where the process got its arguments, and then its
 * environment: servers write there what each of their processes is for.
 */
struct thread_record {
	RECORD_HEAD;
	__u8 pad;
	__u16 arguments_len;  /* bytes that were read; 0: they could not be */
	__u32 arguments_size; /* bytes that the arguments had when the program began */
	struct identity who;
	char arguments[ARGUMENTS_LEN];
};

struct thread_exit_record {
	RECORD_HEAD;
	__u8 pad[3];
	__u32 program; /* of its last markers */
	struct identity who;
	__u64 markers; /* that the thread has produced, lost ones counted */
};

struct process_exit_record {
	struct thread_exit_record thread; /* the last one */
	__u32 status;			  /* as wait(2) gives it */
	__u32 pad;
	__u64 cpu_time;			  /* of all threads it ever had, ns, to the last tick */
};

/* Its head is of the process as it goes on. */
struct exec_record {
	RECORD_HEAD;
	__u8 pad[3];
	__u32 program;	    /* of the thread's markers from now on */
	struct identity who;
	__u64 markers;	    /* that the thread has produced, lost ones counted */
	__u64 former_start; /* of the thread that ran exec, as last told; 0: it was never told of */
	__u32 former_tid;   /* the same thread's id before it took the process's */
	__u32 before;	    /* program of the thread's markers until now */
	struct exe_key file; /* the new program's */
};

/* Its head is the parent's. */
struct fork_record {
	RECORD_HEAD;
	__u8 pad[3];
	__u32 child;	     /* process id of the child in the initial pid namespace */
	struct identity who; /* the child */
	__u32 parent;	     /* process id of the parent in the pid namespace of the tracer */
	__u32 pad2;
};

#define LIBRARY_NAME 256 /* bytes, the closing NUL included */

/* One for each object that was added, with its name, then one for the change. */
struct library_record {
	RECORD_HEAD;
	__u8 unnamed; /* objects may have been added whose names are not told */
	__u8 pad[6];
	struct identity who;
	char name[LIBRARY_NAME]; /* as the dynamic linker has it; empty: the change itself */
};

struct file_start_record {
	RECORD_HEAD;
	__u8 pad[7];
	struct identity who;
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

struct lane_state {
	__s32 depth;
	__s32 low;
};

/* A look at the objects of a dynamic linker, by their addresses in the target. */
struct library_walk {
	__u64 list;  /* of struct r_debug */
	__u64 node;  /* of an object */
	__u64 next;  /* of the object behind it, or of a name */
	__u64 known; /* of the last object at the last change; 0: not known */
	__u32 state; /* of the list: enum list_state */
	__u32 pad;
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
	__u64 constant;	      /* address of the memory at this site in which strings are not copied */
	__u64 constant_bytes; /* how much, 0 for none */
	struct lane_state lanes[MAX_LANES];
	struct marker_record rec;
	__u8 payload[PAYLOAD_SIZE]; /* slots, then strings; sent together with rec */
	struct thread_record thread; /* being sent, as are the next */
	struct library_record library;
	struct library_walk walk;
	struct file_start_record file_start;
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
