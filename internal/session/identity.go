// SPDX-License-Identifier: Apache-2.0

package session

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/phasetrace/phasetrace/internal/lease"
)

// fileKey names a file whatever its path and its contents. Inode numbers are used
// again, and soon: the time of birth, in ns, tells such files apart where the file
// system keeps it.
type fileKey struct {
	dev, ino uint64
	born     int64
}

// fileID names a file as it is: contents that are changed in place have another.
type fileID struct {
	fileKey
	size    int64 // bytes
	changed int64 // ns of its file system's clock, the last change (ctime)
}

// identify returns what names an open file.
func identify(h *os.File) (fileID, error) {
	var st unix.Statx_t
	err := unix.Statx(int(h.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_INO|unix.STATX_BTIME|unix.STATX_SIZE|unix.STATX_CTIME, &st)
	if err != nil {
		return fileID{}, fmt.Errorf("look at the file: %w", err)
	}
	id := fileID{
		fileKey: fileKey{dev: unix.Mkdev(st.Dev_major, st.Dev_minor), ino: st.Ino},
		size:    int64(st.Size), changed: nanoseconds(st.Ctime),
	}
	if st.Mask&unix.STATX_BTIME != 0 {
		id.born = nanoseconds(st.Btime)
	}
	return id, nil
}

func nanoseconds(t unix.StatxTimestamp) int64 { return t.Sec*1e9 + int64(t.Nsec) }

// settleTime is how long ago a file must have been changed for its id to tell of
// the next change: clocks of file systems tick up to two seconds apart.
const settleTime = 2 * time.Second

// identifySettled returns what names an open file, and whether contents that it
// has later will have another id. They may not have when it was changed just now,
// or is being written to: who writes through memory changes the time once.
func identifySettled(h *os.File) (id fileID, settled bool, err error) {
	writer := errors.Is(lease.Free(h), lease.ErrWriter)
	now := time.Now().UnixNano()
	id, err = identify(h)
	return id, !writer && id.changed < now-int64(settleTime), err
}
