// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package hitcost

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"github.com/phasetrace/phasetrace/internal/probe"
	"github.com/phasetrace/phasetrace/internal/process"
)

// The markers that are attached to, and the same twice more that are not. In
// assembly, because a compiler would remove the nops. text comes in the register
// that textRegister names, less its offset in the function.
func enter(text *byte)
func exit()
func bareEnter(text *byte)
func bareExit()

func enterAddress() uintptr
func exitAddress() uintptr

// textRegister is where enter has its argument at its nop.
func textRegister() (probe.Arch, probe.Reg) {
	if runtime.GOARCH == "arm64" {
		return probe.ARM64, probe.X0
	}
	return probe.AMD64, probe.RDI
}

// nopLead is how many bytes of instructions come before the nop of enter: one load
// of the argument.
func nopLead() uint64 {
	if runtime.GOARCH == "arm64" {
		return 4
	}
	return 5 // mov 0x8(%rsp),%rdi
}

// offsets returns where the two nops are in the file of this program.
func offsets() (enter, exit uint64, err error) {
	self, err := process.Open(os.Getpid())
	if err != nil {
		return 0, 0, fmt.Errorf("look at this process: %w", err)
	}
	defer self.Close()
	modules, err := self.Modules()
	if err != nil {
		return 0, 0, fmt.Errorf("look at this process: %w", err)
	}
	enter, exit = uint64(enterAddress())+nopLead(), uint64(exitAddress())
	for i := range modules {
		for _, m := range modules[i].Mappings {
			if modules[i].Main && m.Executable() && m.Start <= enter && enter < m.End && m.Start <= exit && exit < m.End {
				return enter - m.Start + m.Offset, exit - m.Start + m.Offset, nil
			}
		}
	}
	return 0, 0, errors.New("this program's own code is not mapped from its file")
}
