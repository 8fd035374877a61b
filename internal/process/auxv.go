// SPDX-License-Identifier: Apache-2.0

package process

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Entries of the auxiliary vector (include/uapi/linux/auxvec.h).
const (
	auxPhdr   = 3  // address of the executable's program headers
	auxPhnum  = 5  // how many there are
	auxBase   = 7  // where the dynamic linker was loaded; 0 without one
	auxSecure = 23 // not 0 for set-user-ID and the like
)

// maxAuxv bounds the vector. The kernel's has some 25 entries of 16 bytes.
const maxAuxv = 4096

// auxv returns the auxiliary vector: what the kernel told the program at exec.
func (p *Process) auxv() (map[uint64]uint64, error) {
	f, err := p.openMemory("auxv")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxAuxv))
	if err != nil {
		return nil, p.fail(memoryOps["auxv"], err)
	}
	if len(data) == 0 {
		return nil, p.noMemory("auxv")
	}
	return parseAuxv(data), nil
}

// parseAuxv reads the vector of a 64-bit process. That of a 32-bit process reads
// as nonsense, which is harmless: it points nowhere.
func parseAuxv(data []byte) map[uint64]uint64 {
	aux := make(map[uint64]uint64)
	for ; len(data) >= 16; data = data[16:] {
		key := binary.NativeEndian.Uint64(data)
		if key == 0 {
			break
		}
		aux[key] = binary.NativeEndian.Uint64(data[8:])
	}
	return aux
}

// noMemory says why a file of the process's memory is empty.
func (p *Process) noMemory(name string) error {
	if err := p.Alive(); err != nil {
		return err
	}
	return fmt.Errorf("%s: process %d shows none", memoryOps[name], p.PID)
}
