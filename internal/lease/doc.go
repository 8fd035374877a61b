// SPDX-License-Identifier: Apache-2.0

// Package lease keeps files from being written to for as long as somebody needs
// them as they are. Who opens such a file for writing or truncates it waits in
// the kernel; the holder is told at once, and gives the lease back when it is
// ready. A lease ends with its holder, however that ends, and the kernel takes
// it away by itself after /proc/sys/fs/lease-break-time, 45 seconds by default.
//
// Opening for reading, running, mapping, renaming and removing the file do not
// wait. A writer that does not want to wait (O_NONBLOCK) fails with EAGAIN.
//
// It knows nothing of what files are needed for.
package lease
