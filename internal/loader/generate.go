// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"fmt"
	"math"
	"slices"
	"unsafe"

	"github.com/phasetrace/phasetrace/internal/probe"

	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"

	"github.com/phasetrace/phasetrace/bpf"
)

// The body of fetch_arguments (bpf/fetch.h) is generated: straight
// instructions for each way in which a site of the program is read, chosen by
// a binary search over their numbers. So one program serves many sites, each
// at the cost of what it captures, and a program is verified in time
// proportional to that.

// Names of functions in the BPF object.
const (
	fnFetch      = "fetch_arguments"
	fnCopyString = "copy_string"
	fnCopyBytes  = "copy_bytes"
	fnReadAbsent = "read_absent"
	fnPrompt     = "comes_promptly"
)

// specsPerProgram bounds the generated body: the jump over half of 64 specs of
// the largest kind stays within reach (32,767 instructions).
const specsPerProgram = 64

// Offsets in struct thread_state.
const (
	offHeader     = int16(unsafe.Offsetof(bpf.PhasetraceThreadState{}.Rec) + unsafe.Offsetof(bpf.PhasetraceMarkerRecord{}.Type))
	offUnreadable = int16(unsafe.Offsetof(bpf.PhasetraceThreadState{}.Rec) + unsafe.Offsetof(bpf.PhasetraceMarkerRecord{}.Unreadable))
	offUsed       = int16(unsafe.Offsetof(bpf.PhasetraceThreadState{}.Used))
	offPayload    = int16(unsafe.Offsetof(bpf.PhasetraceThreadState{}.Payload))
)

// header is a marker's type, lane and an empty set of unreadable integers: they
// lie in one word, which one store fills.
func (s *siteSpec) header() int64 {
	const laneBits = 8 * (unsafe.Offsetof(bpf.PhasetraceMarkerRecord{}.Lane) - unsafe.Offsetof(bpf.PhasetraceMarkerRecord{}.Type))
	return int64(markerType(s.effect)) | int64(s.lane)<<laneBits
}

// Registers of the generated body. The first two hold over calls.
const (
	regCtx    = asm.R6 // struct pt_regs
	regState  = asm.R7 // struct thread_state
	regValue  = asm.R8 // the operand just fetched
	regNumber = asm.R3 // on entry: the number of the spec
)

// generator collects the body.
type generator struct {
	insns     asm.Instructions
	sleepable bool
	labels    int
	pending   string // label of the next instruction
}

// generateFetch returns the body of fetch_arguments for specs, numbered by
// their index. It is pure. sleepable: the program may fault memory in.
func generateFetch(specs []siteSpec, sleepable bool) asm.Instructions {
	g := &generator{sleepable: sleepable}
	g.emit(asm.Mov.Reg(regCtx, asm.R1), asm.Mov.Reg(regState, asm.R2))
	g.search(specs, 0)
	return g.insns
}

func (g *generator) emit(insns ...asm.Instruction) {
	for _, ins := range insns {
		if g.pending != "" {
			ins = ins.WithSymbol(g.pending)
			g.pending = ""
		}
		g.insns = append(g.insns, ins)
	}
}

func (g *generator) label() string {
	g.labels++
	return fmt.Sprintf("fetch_%d", g.labels)
}

// place puts a label before the next instruction.
func (g *generator) place(label string) {
	if g.pending != "" {
		g.emit(asm.Mov.Reg(regCtx, regCtx)) // two labels cannot share an instruction
	}
	g.pending = label
}

func (g *generator) search(specs []siteSpec, first int) {
	if len(specs) == 1 {
		g.site(&specs[0])
		return
	}
	half := len(specs) / 2
	low := g.label()
	g.emit(asm.JLT.Imm(regNumber, int32(first+half), low))
	g.search(specs[half:], first+half)
	g.place(low)
	g.search(specs[:half], first)
}

func (g *generator) site(s *siteSpec) {
	g.emit(
		asm.StoreImm(regState, offHeader, s.header(), asm.Word),
		asm.StoreImm(regState, offUsed, int64(s.n)*int64(slotSize), asm.Word),
	)
	for i := range int(s.n) {
		g.capture(&s.captures[i], i)
	}
	g.emit(asm.Mov.Imm(asm.R0, 0), asm.Return())
}

func slotOffset(i int) int16 { return offPayload + int16(i*slotSize) }

// capture fills slot i, into which it also reads user memory.
func (g *generator) capture(c *captureSpec, i int) {
	if c.typ == probe.CaptureInt {
		g.integer(&c.arg, i)
		return
	}
	done, bad := g.label(), g.label()
	g.value(&c.arg, i, bad)
	g.emit(
		asm.LoadImm(asm.R1, int64(stringNull)<<32, asm.DWord),
		asm.StoreMem(regState, slotOffset(i), asm.R1, asm.DWord),
		asm.JEq.Imm(regValue, 0, done),
	)
	fn := fnCopyString
	if c.typ == probe.CaptureBytes {
		fn = fnCopyBytes
		g.emit(asm.Mov.Reg(asm.R9, regValue))
		g.value(&c.len, i, bad)
		g.emit(asm.Mov.Reg(asm.R5, regValue), asm.Mov.Reg(asm.R3, asm.R9))
	} else {
		g.emit(asm.Mov.Reg(asm.R3, regValue))
	}
	g.emit(
		asm.Mov.Reg(asm.R1, regState),
		asm.Mov.Imm(asm.R2, int32(i)),
		asm.Mov.Imm(asm.R4, int32(c.max)),
		asm.Call.Label(fn),
	)
	if c.arg.kind == operandMem || c.typ == probe.CaptureBytes && c.len.kind == operandMem {
		g.emit(asm.Ja.Label(done))
		g.place(bad)
		g.emit(
			asm.LoadImm(asm.R1, int64(stringUnreadable)<<32, asm.DWord),
			asm.StoreMem(regState, slotOffset(i), asm.R1, asm.DWord),
		)
	}
	g.place(done)
}

// integer stores an operand as 64 bits. One that cannot be read is 0 there, and
// marked in the record's unreadable.
func (g *generator) integer(op *operand, i int) {
	if op.kind == operandConst {
		v := extend(op.value, op.size, op.signed)
		if v >= math.MinInt32 && v <= math.MaxInt32 {
			g.emit(storeConstant(i, v))
			return
		}
	}
	g.value(op, i, "")
	if op.kind == operandMem && op.size == 8 {
		return // it was read into the slot
	}
	g.emit(asm.StoreMem(regState, slotOffset(i), regValue, asm.DWord))
}

// storeConstant writes a constant of 32 bits, sign extended, to slot i.
func storeConstant(i int, v int64) asm.Instruction {
	return asm.Instruction{
		OpCode: asm.StoreImmOp(asm.DWord), Dst: regState, Offset: slotOffset(i), Constant: v,
	}
}

// value brings an operand into regValue, as wide and as signed as the note says.
// Where memory cannot be read it jumps to label bad, or continues with 0, which
// is marked.
func (g *generator) value(op *operand, i int, bad string) {
	switch op.kind {
	case operandConst:
		g.emit(asm.LoadImm(regValue, extend(op.value, op.size, op.signed), asm.DWord))
		return
	case operandReg:
		g.emit(asm.LoadMem(regValue, regCtx, int16(op.base), asm.DWord))
		if op.shift > 0 {
			g.emit(asm.RSh.Imm(regValue, int32(op.shift)))
		}
	case operandMem:
		g.memory(op, i, bad)
		g.emit(asm.LoadMem(regValue, regState, slotOffset(i), asm.DWord))
	}
	if bits := 64 - 8*int32(op.size); bits > 0 {
		shift := asm.RSh
		if op.signed {
			shift = asm.ArSh
		}
		g.emit(asm.LSh.Imm(regValue, bits), shift.Imm(regValue, bits))
	}
}

// memory reads an operand into slot i.
func (g *generator) memory(op *operand, i int, bad string) {
	g.emit(asm.LoadImm(regValue, op.value, asm.DWord))
	if op.hasBase {
		g.emit(asm.LoadMem(asm.R1, regCtx, int16(op.base), asm.DWord), asm.Add.Reg(regValue, asm.R1))
	}
	if op.hasIndex {
		g.emit(asm.LoadMem(asm.R1, regCtx, int16(op.index), asm.DWord))
		if op.shift > 0 {
			g.emit(asm.LSh.Imm(asm.R1, int32(op.shift)))
		}
		g.emit(asm.Add.Reg(regValue, asm.R1))
	}
	read := g.label()
	g.readUser(asm.FnProbeReadUser.Call(), op.size, i)
	g.emit(asm.JEq.Imm(asm.R0, 0, read))
	if g.sleepable {
		g.readUser(asm.Call.Label(fnReadAbsent), op.size, i)
		g.emit(asm.JEq.Imm(asm.R0, 0, read))
	}
	if bad != "" {
		g.emit(asm.Ja.Label(bad))
	} else {
		g.emit(
			storeConstant(i, 0),
			asm.LoadMem(asm.R1, regState, offUnreadable, asm.Half),
			asm.Or.Imm(asm.R1, int32(1)<<i),
			asm.StoreMem(regState, offUnreadable, asm.R1, asm.Half),
		)
	}
	g.place(read)
}

// readUser copies size bytes at regValue into slot i with one of two calls of the
// same signature.
func (g *generator) readUser(call asm.Instruction, size uint8, i int) {
	g.emit(
		asm.Mov.Reg(asm.R1, regState),
		asm.Add.Imm(asm.R1, int32(slotOffset(i))),
		asm.Mov.Imm(asm.R2, int32(size)),
		asm.Mov.Reg(asm.R3, regValue),
		call,
	)
}

// extend widens an operand of 1, 2, 4 or 8 bytes to 64 bits.
func extend(v int64, size uint8, signed bool) int64 {
	bits := 64 - 8*uint(size)
	if signed {
		return v << bits >> bits
	}
	return int64(uint64(v) << bits >> bits)
}

// replaceFetch puts body in place of the compiled fetch_arguments, and drops
// functions that nothing calls any more, which the kernel refuses. A program that
// is not sleepable reads no absent memory: the function that decides (bpf/absent.h)
// needs Linux 5.17, and the kernel verifies it even where nothing calls it.
func replaceFetch(insns, body asm.Instructions, sleepable bool) (asm.Instructions, error) {
	main, functions := splitFunctions(insns)
	if prompt := functions[fnPrompt]; !sleepable && len(prompt) > 0 {
		never := asm.Mov.Imm(asm.R0, 0).WithMetadata(prompt[0].Metadata)
		functions[fnPrompt] = asm.Instructions{never, asm.Return()}
	}
	fetch := functions[fnFetch]
	if len(fetch) == 0 {
		return nil, fmt.Errorf("read the marker program: it has no function %s", fnFetch)
	}
	// The kernel wants a type and a source line for every function.
	body[0] = body[0].WithMetadata(fetch[0].Metadata)
	functions[fnFetch] = body
	out := slices.Clone(main)
	linked := make(map[string]bool)
	for pending := main.FunctionReferences(); len(pending) > 0; pending = pending[1:] {
		name := pending[0]
		if linked[name] {
			continue
		}
		linked[name] = true
		out = append(out, functions[name]...)
		pending = append(pending, functions[name].FunctionReferences()...)
	}
	return out, nil
}

// splitFunctions cuts a program into its first function and the others by name.
func splitFunctions(insns asm.Instructions) (main asm.Instructions, rest map[string]asm.Instructions) {
	rest = make(map[string]asm.Instructions)
	name, start := "", 0
	for i := 1; i <= len(insns); i++ {
		if i < len(insns) && btf.FuncMetadata(&insns[i]) == nil {
			continue
		}
		if name == "" {
			main = insns[start:i]
		} else {
			rest[name] = insns[start:i]
		}
		if i < len(insns) {
			name, start = insns[i].Symbol(), i
		}
	}
	return main, rest
}
