/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Reads memory of the target that is not present: the kernel brings it in, and the
 * program sleeps meanwhile. While it sleeps, no BPF program on the machine can be
 * removed. So only memory is read that nobody can keep back:
 *
 *	anonymous memory and shared memory, unless a program handles its faults
 *	regular files of local file systems
 *
 * Not read: files of a file system that a program serves (FUSE), that is on the
 * network, or that is not known here; memory of a device.
 *
 * The read goes the way of a debugger's (access_process_vm), not of a page fault.
 * On that way the kernel does not wait for programs that handle faults: without
 * FAULT_FLAG_ALLOW_RETRY, handle_userfault (fs/userfaultfd.c) fails. So it is safe
 * if the program registers the memory after the look at it.
 *
 * What remains: between the look and the read, for about a microsecond, another
 * thread of the target can map a file of its own file system there, or take the lock
 * of the memory map.
 */
#ifndef PHASETRACE_ABSENT_H
#define PHASETRACE_ABSENT_H

#define EFAULT 14
#define EBUSY 16

#define S_IFMT 00170000 /* include/uapi/linux/stat.h */
#define S_IFREG 0100000

/* From include/uapi/linux/magic.h, or the file system's own source. */
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

/* A mapping through overlayfs names the file in the lower or upper layer. */
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
	/* No operations: anonymous (vma_is_anonymous, include/linux/mm.h). */
	*prompt = !BPF_CORE_READ(vma, vm_ops) || (file && is_local(file));
	return 0;
}

#define LOOKS 4 /* a look fails while the memory map is being changed */

/* Whether nobody can keep this memory back. Not static, so that it is verified once,
 * not for each call. internal/loader replaces it in programs that cannot sleep.
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

/* Reads at most STR_MAX + 2 bytes that are not present. Returns 0, or a negative
 * error if they cannot be read.
 */
static __noinline long read_absent(void *dst, __u32 size, __u64 addr)
{
	if (!dst || size > STR_MAX + 2 || !comes_promptly(addr) || !comes_promptly(addr + size - 1))
		return -EFAULT;
	return bpf_copy_from_user_task(dst, size, (void *)addr, bpf_get_current_task_btf(), 0);
}

#endif
