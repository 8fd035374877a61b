// SPDX-License-Identifier: Apache-2.0

package inspect

import "runtime/debug"

// memoryLimit is for the Go runtime, in bytes; the program's own code and
// tables come on top of it.
const memoryLimit = 84 << 20

// BoundMemory sets the garbage collector of this whole program up for listing one
// file, and returns what sets it back. Whatever the file, listing it then takes
// less than 100 MB: garbage is collected when memory runs out, and not before,
// which is also the fastest.
func BoundMemory() (undo func()) {
	limit := debug.SetMemoryLimit(memoryLimit)
	percent := debug.SetGCPercent(-1)
	return func() {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(limit)
	}
}
