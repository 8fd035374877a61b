/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * The libraries that targets load. A dynamic linker calls a function for
 * debuggers when its list of objects changes; there the program reads the list
 * too, so that user space knows the names of libraries that are gone before
 * it can look. Nothing of this costs processes that are no targets, but for the
 * trap in a dynamic linker they share.
 */
#ifndef PHASETRACE_LIBRARY_H
#define PHASETRACE_LIBRARY_H

/* struct r_debug and struct link_map of link.h, on 64 bits: what every dynamic
 * linker shows debuggers.
 */
#define DEBUG_VERSION 0
#define DEBUG_MAP 8
#define DEBUG_STATE 24
#define OBJECT_NAME 8
#define OBJECT_NEXT 24
#define OBJECT_PREVIOUS 32

enum list_state {
	LIST_CONSISTENT = 0,
	LIST_ADD = 1,	 /* objects are being added, and may be in the list */
	LIST_DELETE = 2, /* or removed */
};

#define MAX_OBJECTS 512 /* of one process; those behind are not told by name */
#define MAX_ADDED 16	/* told by name at one change */

/* The attach cookie: how far behind the function the list is in memory, 32 bits
 * with a sign, and these above.
 */
#define LIST_KNOWN (1U << 0)
#define LIST_POINTER (1U << 1) /* there lies its address, not the list itself */

#define UNCHANGED 1 /* no address: the next consistent list has nothing new */

/* The last object of a process's list, by process id in the initial namespace. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, __u64);
} last_objects SEC(".maps");

static __always_inline void forget_objects(struct task_struct *task)
{
	__u32 tgid = BPF_CORE_READ(task, tgid);

	bpf_map_delete_elem(&last_objects, &tgid);
}

/* A program that starts: what it loads first is known without this list. */
static __always_inline void start_objects(struct task_struct *task)
{
	__u32 tgid = BPF_CORE_READ(task, tgid);
	__u64 none = UNCHANGED;

	bpf_map_update_elem(&last_objects, &tgid, &none, BPF_ANY);
}

#define read_word(to, address) bpf_probe_read_user(to, sizeof(*(to)), (void *)(address))

/* From w->node to the last object of the list, which w->node is then. */
static __noinline long walk_objects(struct library_walk *w)
{
	__u32 i;

	if (!w)
		return -1;
	for (i = 0; i < MAX_OBJECTS; i++) {
		if (read_word(&w->next, w->node + OBJECT_NEXT))
			return -1;
		if (!w->next)
			return 0;
		w->node = w->next;
	}
	return -1;
}

/*
 * Tells of the objects from w->node back to the one that was the last before.
 * Returns whether some are left out.
 */
static __noinline int tell_added(struct thread_state *st)
{
	struct library_walk *w;
	long n;
	__u32 i;

	if (!st)
		return 1;
	w = &st->walk;
	for (i = 0; i < MAX_ADDED && w->node && w->node != w->known; i++) {
		if (read_word(&w->next, w->node + OBJECT_NAME))
			return 1;
		n = bpf_probe_read_user_str(st->library.name, LIBRARY_NAME, (void *)w->next);
		if (n < 0 || n == LIBRARY_NAME) /* it may be longer */
			return 1;
		st->library.time = bpf_ktime_get_ns();
		if (n > 1) /* the program itself has no name */
			send_lifecycle(&st->library, sizeof(st->library));
		if (read_word(&w->node, w->node + OBJECT_PREVIOUS))
			return 1;
	}
	return w->node != w->known;
}

/*
 * Tells, by name, of the objects that a list has more than at the last change.
 * Returns whether there may be others.
 */
static __noinline int name_added(struct thread_state *st, void *ctx, __u32 tgid)
{
	__u64 cookie = bpf_get_attach_cookie(ctx), *last;
	struct library_walk *w;
	__u32 flags = cookie >> 32;

	if (!st || !(flags & LIST_KNOWN))
		return 1;
	w = &st->walk;
	w->list = instruction(ctx) + (__s32)cookie;
	if (flags & LIST_POINTER && read_word(&w->list, w->list))
		return 1;
	if (read_word(&w->node, w->list + DEBUG_MAP) || read_word(&w->state, w->list + DEBUG_STATE))
		return 1;
	if (w->state == LIST_ADD)
		return 0;
	last = bpf_map_lookup_elem(&last_objects, &tgid);
	w->known = last ? *last : 0;
	if (w->state == LIST_DELETE)
		w->node = UNCHANGED;
	else if (!w->node || walk_objects(w))
		return 1;
	bpf_map_update_elem(&last_objects, &tgid, &w->node, BPF_ANY);
	if (w->state == LIST_DELETE || w->known == UNCHANGED)
		return 0;
	if (tell_added(st))
		return 1;
	/* glibc has lists of other namespaces (dlmopen) behind this one. */
	return read_word(&w->state, w->list + DEBUG_VERSION) || w->state > 1;
}

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
	stamp(&st->library, task, RECORD_LIBRARY);
	identify(task, &st->library.who);
	st->library.unnamed = 0;
	st->library.unnamed = name_added(st, ctx, st->library.tgid);
	st->library.name[0] = 0;
	st->library.time = bpf_ktime_get_ns();
	send_lifecycle(&st->library, sizeof(st->library));
	return 0;
}

#endif
