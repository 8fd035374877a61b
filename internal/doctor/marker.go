// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package doctor

import (
	"errors"
	"fmt"
	"os"

	"github.com/phasetrace/phasetrace/internal/process"
)

// marker is a nop, and markerAddress where it is. In assembly, because a compiler
// would remove the nop.
func marker()
func markerAddress() uintptr

// ownMarker returns the file offset of marker in this program's executable.
func ownMarker() (uint64, error) {
	self, err := process.Open(os.Getpid())
	if err != nil {
		return 0, fmt.Errorf("look at this process: %w", err)
	}
	defer self.Close()
	modules, err := self.Modules()
	if err != nil {
		return 0, fmt.Errorf("look at this process: %w", err)
	}
	address := uint64(markerAddress())
	for i := range modules {
		for _, m := range modules[i].Mappings {
			if modules[i].Main && m.Executable() && m.Start <= address && address < m.End {
				return address - m.Start + m.Offset, nil
			}
		}
	}
	return 0, errors.New("this program's own code is not mapped from its file")
}
