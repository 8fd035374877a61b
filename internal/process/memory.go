// SPDX-License-Identifier: Apache-2.0

package process

import (
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

// ReadMemory fills b from the process's memory at an address. It is not for a
// process that may have ended and been followed by another of its PID: an
// address that the process was just seen to have mapped makes sure of that.
func (p *Process) ReadMemory(b []byte, at uint64) error {
	return p.transfer("read its memory", unix.ProcessVMReadv, b, at)
}

// WriteMemory writes b to the process's memory at an address, which must be
// writable. The same holds as for ReadMemory.
func (p *Process) WriteMemory(b []byte, at uint64) error {
	return p.transfer("write its memory", unix.ProcessVMWritev, b, at)
}

type vmCall func(pid int, local []unix.Iovec, remote []unix.RemoteIovec, flags uint) (int, error)

func (p *Process) transfer(op string, call vmCall, b []byte, at uint64) error {
	if len(b) == 0 {
		return nil
	}
	local := []unix.Iovec{{Base: &b[0]}}
	local[0].SetLen(len(b))
	n, err := call(p.PID, local, []unix.RemoteIovec{{Base: uintptr(at), Len: len(b)}}, 0)
	switch {
	case err != nil:
		return p.fail(fmt.Sprintf("%s at %#x", op, at), err)
	case n < len(b):
		return p.fail(fmt.Sprintf("%s at %#x", op, at), io.ErrUnexpectedEOF)
	}
	return nil
}
