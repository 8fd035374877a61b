// SPDX-License-Identifier: Apache-2.0

package lease

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/phasetrace/phasetrace/internal/await"
)

// Numbers of file systems that linux/magic.h does not have.
const (
	magicLustre = 0x0bd00bd0
	magicGPFS   = 0x47504653
	magicBeeGFS = 0x19830326
	magicOrange = 0x20030528
	magicVBox   = 0x786f4256
	magicGFS2   = 0x01161970
	magicPanFS  = 0xaad7aaea
	magicVMware = 0xbacbacbc
)

// strangers are file systems whose files can change without anybody here writing
// to them. Where they grant leases at all, those count on this machine only.
var strangers = map[int64]string{
	unix.FUSE_SUPER_MAGIC:  "FUSE",
	unix.V9FS_MAGIC:        "9p",
	unix.AFS_SUPER_MAGIC:   "AFS",
	unix.AFS_FS_MAGIC:      "AFS",
	unix.CODA_SUPER_MAGIC:  "Coda",
	unix.CEPH_SUPER_MAGIC:  "Ceph",
	unix.OCFS2_SUPER_MAGIC: "OCFS2",
	magicGFS2:              "GFS2",
	magicLustre:            "Lustre",
	magicGPFS:              "GPFS",
	magicBeeGFS:            "BeeGFS",
	magicOrange:            "OrangeFS",
	magicPanFS:             "PanFS",
	magicVBox:              "vboxsf",
	magicVMware:            "vmhgfs",
}

// delegating are file systems that grant a lease when their server has promised
// to ask before it lets anybody write, and refuse it as if there were a writer
// when it has not (nfs4_proc_setlease, cifs_setlease).
var delegating = map[int64]string{
	unix.NFS_SUPER_MAGIC:  "NFS",
	unix.CIFS_SUPER_MAGIC: "SMB",
	unix.SMB2_SUPER_MAGIC: "SMB",
	unix.SMB_SUPER_MAGIC:  "SMB",
}

// trusted returns why a lease on a file would mean nothing, nil if it does not.
func trusted(f *os.File) error {
	kind, err := kindOf(f)
	if err != nil {
		return err
	}
	if name := strangers[kind]; name != "" {
		return fmt.Errorf("%w (%s)", ErrUnsupported, name)
	}
	return nil
}

// busy says what EAGAIN means for a file.
func busy(f *os.File) error {
	kind, err := kindOf(f)
	if err != nil {
		return err
	}
	if name := delegating[kind]; name != "" {
		return fmt.Errorf("%w (%s without a promise of the server)", ErrUnsupported, name)
	}
	return ErrWriter
}

// answerTime bounds the wait for a file system to say what it is: a network's
// asks its server.
const answerTime = 200 * time.Millisecond

// kindOf returns the number of a file's file system.
func kindOf(f *os.File) (int64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), answerTime)
	defer cancel()
	fd := int(f.Fd())
	kind, err := await.Do(ctx, func(context.Context) (int64, error) {
		var st unix.Statfs_t
		err := unix.Fstatfs(fd, &st)
		for err == unix.EINTR {
			err = unix.Fstatfs(fd, &st)
		}
		return int64(uint32(st.Type)), err
	}, nil)
	if err != nil {
		return 0, fmt.Errorf("%w: ask what it is: %w", ErrUnsupported, err)
	}
	return kind, nil
}
