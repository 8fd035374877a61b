// SPDX-License-Identifier: Apache-2.0

package process

import "unsafe"

// addressOf returns the address of a mapped page in our own memory.
func addressOf(page []byte) uint64 {
	return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(page))))
}
