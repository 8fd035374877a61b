// SPDX-License-Identifier: Apache-2.0

package probe

import "fmt"

// Arch is the instruction set of a file.
type Arch uint8

// The supported instruction sets. The zero Arch is none of them.
const (
	AMD64 Arch = 1 + iota
	ARM64
)

// String returns the name that Go and Debian use for the architecture.
func (a Arch) String() string {
	switch a {
	case AMD64:
		return "amd64"
	case ARM64:
		return "arm64"
	}
	return fmt.Sprintf("Arch(%d)", uint8(a))
}
