/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Reading memory of the target that is not there: the kernel brings it in, and
 * the program waits for that. Whoever can make the wait last holds up the end of
 * every sleepable program on the machine, so it is asked first whose memory it
 * is. Read are:
 *
 *	anonymous memory, and files in memory, whose faults no program handles
 *	regular files of local file systems
 *
 * A file system of a program (FUSE), of another machine, or unknown here can keep
 * a page for as long as it likes; so can a device's driver. A program that
 * handles its own faults (userfaultfd) is asked for nothing: the memory is read
 * in the way of another process's, without FAULT_FLAG_ALLOW_RETRY, in which no
 * such program is waited for (handle_userfault in fs/userfaultfd.c), also when it
 * has taken over since it was looked at.
 *
 * Not closed: another thread of the target can map a file of a file system of
 * its own over the page between the look and the read, a microsecond or so.
 */
#ifndef PHASETRACE_ABSENT_H
#define PHASETRACE_ABSENT_H

#define EFAULT 14
#define EBUSY 16

#define S_IFMT 00170000 /* include/uapi/linux/stat.h */
#define S_IFREG 0100000

/* Numbers of file systems: include/uapi/linux/magic.h, and where they are defined. */
static __always_inline bool local_file_system(__u64 magic)
{
	switch (magic) {
	case 0x01021994: /* tmpfs, memfd, shared memory */
	case 0x858458f6: /* ramfs */
	case 0xef53:	 /* ext2, ext3, ext4 */
	case 0x58465342: /* XFS */
	case 0x9123683e: /* Btrfs */
	case 0xf2f52010: /* F2FS */
	case 0xca451a4e: /* bcachefs */
	case 0x2fc12fc1: /* ZFS */
	case 0x3153464a: /* JFS */
	case 0x52654973: /* ReiserFS */
	case 0x3434:	 /* NILFS2 */
	case 0xe0f5e1e2: /* EROFS */
	case 0x73717368: /* SquashFS */
	case 0x28cd3d45: /* cramfs */
	case 0x9660:	 /* ISO 9660 */
	case 0x15013346: /* UDF */
	case 0x4d44:	 /* FAT */
	case 0x2011bab0: /* exFAT */
	case 0x7366746e: /* NTFS3 */
		return true;
	}
	return false;
}

/* Whether nobody can keep a file's page. A mapping through overlayfs is of the
 * file beneath it.
 */
static __always_inline bool is_local(struct file *file)
{
	struct inode *inode = BPF_CORE_READ(file, f_inode);

	return (BPF_CORE_READ(inode, i_mode) & S_IFMT) == S_IFREG &&
	       local_file_system(BPF_CORE_READ(inode, i_sb, s_magic));
}

static long look_at_mapping(struct task_struct *task, struct vm_area_struct *vma, __u8 *prompt)
{
	struct file *file = BPF_CORE_READ(vma, vm_file);

	if (bpf_core_field_exists(vma->vm_userfaultfd_ctx.ctx) && BPF_CORE_READ(vma, vm_userfaultfd_ctx.ctx))
		return 0;
	/* Without operations it is anonymous: vma_is_anonymous, include/linux/mm.h */
	*prompt = !BPF_CORE_READ(vma, vm_ops) || (file && is_local(file));
	return 0;
}

#define LOOKS 4 /* while others change the map */

/* Whether nobody can make a read of this memory last. Verified once, not once a
 * call; internal/loader leaves it out of programs that cannot wait.
 */
__noinline bool comes_promptly(__u64 addr)
{
	struct task_struct *task = bpf_get_current_task_btf();
	__u8 prompt = 0;
	int i;

	for (i = 0; i < LOOKS; i++)
		if (bpf_find_vma(task, addr, look_at_mapping, &prompt, 0) != -EBUSY)
			break;
	return prompt;
}

/* Reads at most STR_MAX + 2 bytes that could not be read without waiting. Returns 0,
 * or negative where they cannot be had.
 */
static __noinline long read_absent(void *dst, __u32 size, __u64 addr)
{
	if (!dst || size > STR_MAX + 2 || !comes_promptly(addr) || !comes_promptly(addr + size - 1))
		return -EFAULT;
	return bpf_copy_from_user_task(dst, size, (void *)addr, bpf_get_current_task_btf(), 0);
}

#endif
