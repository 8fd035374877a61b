// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/phasetrace/phasetrace/bpf"
)

// smallStack is the largest that the kernel leaves with the task: it rounds up
// to 16 bytes, and from 64 on (BPF_PRIV_STACK_MIN_SIZE, Linux 6.13) gives a
// uprobe's function a stack of the CPU, which tasks write over for one another.
const smallStack = 48

// No function that a uprobe runs has a stack that is not its task's own.
func TestStacksStayWithTheTask(t *testing.T) {
	spec, err := bpf.LoadPhasetrace()
	if err != nil {
		t.Fatal(err)
	}
	uprobes, largest := 0, 0
	for name, p := range spec.Programs {
		if p.Type != ebpf.Kprobe {
			continue // tracepoints' programs do not run twice on a CPU
		}
		uprobes++
		for function, n := range stacks(p.Instructions) {
			largest = max(largest, n)
			if n > smallStack {
				t.Errorf("%s: %s has %d bytes of stack, %d are allowed", name, function, n, smallStack)
			}
		}
	}
	if uprobes < 5 || largest == 0 {
		t.Errorf("%d programs, %d bytes at the most: the test sees nothing", uprobes, largest)
	}
}

// stacks returns how deep each function reaches below its frame pointer, bytes.
func stacks(insns asm.Instructions) map[string]int {
	deep := make(map[string]int)
	function, copied := "", asm.RFP // the register that holds a copy of the frame pointer
	for i := range insns {
		ins := &insns[i]
		if s := ins.Symbol(); s != "" {
			function = s
		}
		below := 0
		switch class := ins.OpCode.Class(); {
		case class.IsLoad() && ins.Src == asm.RFP, class.IsStore() && ins.Dst == asm.RFP:
			below = -int(ins.Offset)
		case class.IsALU() && ins.OpCode.ALUOp() == asm.Add && ins.OpCode.Source() == asm.ImmSource && ins.Dst == copied:
			below = -int(ins.Constant)
		}
		copied = asm.RFP
		if ins.OpCode.Class().IsALU() && ins.OpCode.ALUOp() == asm.Mov && ins.Src == asm.RFP && ins.OpCode.Source() == asm.RegSource {
			copied = ins.Dst
		}
		deep[function] = max(deep[function], below)
	}
	return deep
}

// What the loader writes itself uses no stack at all.
func TestGeneratedUsesNoStack(t *testing.T) {
	for i, ins := range generateFetch([]siteSpec{largest(), largest()}, true) {
		if ins.Src == asm.RFP || ins.Dst == asm.RFP {
			t.Errorf("instruction %d: %v", i, ins)
		}
	}
}
