/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * What a site captures. How its arguments are found is not data that is
 * interpreted at every hit: internal/loader writes the body of fetch_arguments
 * anew for the sites of each program it loads.
 */
#ifndef PHASETRACE_FETCH_H
#define PHASETRACE_FETCH_H

#define PAGE_MASK_4K 4095U /* pages are no smaller */

/*
 * bpf_probe_read_user_str for a string that is not present. The second page is read
 * only if the string does not end on the first.
 */
static __noinline long read_absent_string(char *dst, __u32 size, __u64 addr)
{
	__u32 first = PAGE_MASK_4K + 1 - (addr & PAGE_MASK_4K);
	char last;
	long n;

	if (!dst || size > STR_MAX + 2)
		return -EFAULT;
	if (first > size)
		first = size;
	if (!first || read_absent(dst, first, addr))
		return -EFAULT;
	last = dst[first - 1];
	n = bpf_probe_read_kernel_str(dst, first, dst); /* in place: finds the end */
	if (!last || n < first || first == size)
		return n;
	if (read_absent(dst, size, addr))
		return -EFAULT;
	return bpf_probe_read_kernel_str(dst, size, dst);
}

/* Writes slot i, of a string of which `len` bytes are kept behind `st->used`. */
static __always_inline int set_slot(struct thread_state *st, __u32 i, __u32 len, __u16 flags)
{
	struct string_slot slot = {
		.len = len,
		.offset = st->used,
		.flags = flags,
	};

	*(struct string_slot *)&st->payload[i * 8] = slot;
	st->used += len;
	return 0;
}

/* Finds out, from the cookie, in which memory strings need not be copied. */
static __always_inline void find_constant(struct thread_state *st, void *ctx, __u64 cookie)
{
	__u64 pages = cookie >> (64 - COOKIE_PAGES);
	__s64 near;

	st->constant_bytes = pages << 12;
	if (!pages)
		return;
	near = (__s64)(cookie << COOKIE_PAGES) >> (64 - COOKIE_NEAR);
	st->constant = ((instruction(ctx) >> 12) + near) << 12;
}

static __always_inline int set_constant(struct thread_state *st, __u32 i, __u32 at)
{
	struct constant_slot slot = {
		.at = at,
		.flags = STRING_CONSTANT,
	};

	*(struct constant_slot *)&st->payload[i * 8] = slot;
	return 0;
}

/*
 * Copies a NUL-terminated string of at most max bytes behind the slots, and
 * tells of it in slot i. Called by generated instructions.
 */
static __noinline int copy_string(struct thread_state *st, __u32 i, __u64 addr, __u32 max)
{
	__u32 at;
	char *dst;
	long n;

	if (!st || i >= MAX_CAPTURES || max > STR_MAX)
		return 0;
	if (addr - st->constant < st->constant_bytes)
		return set_constant(st, i, addr - st->constant);
	at = st->used;
	if (at > MAX_CAPTURES * 8 + DATA_MAX)
		return set_slot(st, i, 0, STRING_TRUNCATED);
	dst = (char *)st->payload + at;
	/* one byte more than is kept, so that a cut is seen */
	n = bpf_probe_read_user_str(dst, max + 2, (void *)addr);
	if (n < 0 && sleepable)
		n = read_absent_string(dst, max + 2, addr);
	if (n <= 0)
		return set_slot(st, i, 0, STRING_UNREADABLE);
	if (n - 1 > max)
		return set_slot(st, i, max, STRING_TRUNCATED);
	return set_slot(st, i, n - 1, 0);
}

/* The same for a string that comes with its length. */
static __noinline int copy_bytes(struct thread_state *st, __u32 i, __u64 addr, __u32 max, __u64 len)
{
	__u32 n = len > max ? max : len;
	__u32 at;
	char *dst;
	long err;

	if (!st || i >= MAX_CAPTURES || n > STR_MAX)
		return 0;
	at = st->used;
	if (at > MAX_CAPTURES * 8 + DATA_MAX)
		return set_slot(st, i, 0, STRING_TRUNCATED);
	dst = (char *)st->payload + at;
	err = bpf_probe_read_user(dst, n, (void *)addr);
	if (err && sleepable)
		err = read_absent(dst, n, addr);
	if (err)
		return set_slot(st, i, 0, STRING_UNREADABLE);
	return set_slot(st, i, n, len > max ? STRING_TRUNCATED : 0);
}

#define opaque(value) asm volatile("" : "+r"(value))

/*
 * Fetches what a site captures: fills the payload's slots, st->used, and type,
 * lane and unreadable of the record. `spec` is the number, in its program, of
 * the way in which the site is read.
 *
 * This body is never loaded; internal/loader/generate.go writes the one that
 * is. It calls what the generated one may call, so that it is linked.
 */
static __noinline int fetch_arguments(void *ctx, struct thread_state *st, __u32 spec)
{
	__u64 addr = (__u64)ctx, len = spec;
	__u32 i = spec, max = spec;

	opaque(addr);
	opaque(len);
	opaque(i);
	opaque(max);
	copy_string(st, i, addr, max);
	copy_bytes(st, i, addr, max, len);
	read_absent(st, 8, addr);
	return 0;
}

#endif
