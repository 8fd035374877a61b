// SPDX-License-Identifier: Apache-2.0

package gpu

import (
	"fmt"
	"strconv"
)

// Value is a number of bytes that may be unknown. The zero Value is unknown.
type Value struct {
	N     uint64 // bytes; 0 and without meaning unless Known
	Known bool
}

// Bytes returns a known Value of n bytes.
func Bytes(n uint64) Value { return Value{N: n, Known: true} }

// plus returns the sum of two values, unknown if either is.
func (v Value) plus(o Value) Value {
	if !v.Known || !o.Known {
		return Value{}
	}
	return Bytes(v.N + o.N)
}

// String returns the number of bytes in decimal, or "unknown".
func (v Value) String() string {
	if !v.Known {
		return "unknown"
	}
	return strconv.FormatUint(v.N, 10)
}

// Delta is a signed number of bytes that may be unknown. The zero Delta is
// unknown.
type Delta struct {
	N     int64 // bytes; 0 and without meaning unless Known
	Known bool
}

// Device is one thing whose memory can be read: a GPU, or one MIG instance of a
// GPU that is partitioned.
type Device struct {
	// ID is the position in [Source.Devices], dense from 0; Sample.Device
	// refers to it.
	ID int
	// Index is the driver's number of the GPU, as nvidia-smi shows it. It is
	// not the number that CUDA uses when CUDA_VISIBLE_DEVICES is set.
	Index int
	// MIG is the number of the MIG instance on that GPU, −1 when ID is the
	// whole GPU.
	MIG  int
	UUID string // "GPU-…" or "MIG-…"; empty when it could not be read
	Name string // the product's name; empty when it could not be read
}

// Label names a device in messages.
func (d Device) Label() string {
	if d.MIG >= 0 {
		return fmt.Sprintf("GPU %d MIG %d", d.Index, d.MIG)
	}
	return fmt.Sprintf("GPU %d", d.Index)
}

// Memory is one answer to "how much memory is in use". Fields that the driver
// does not report are unknown.
type Memory struct {
	Total Value // all of the device's memory
	Free  Value
	// Used is what is allocated. When Reserved is unknown (old drivers) it
	// contains what the driver keeps for itself.
	Used     Value
	Reserved Value // what the driver and firmware keep for themselves
}

// Process is one process that has a context on a device.
type Process struct {
	PID  int   // in the initial PID namespace; see docs/gpu.md on containers
	Used Value // unknown when the driver does not account by process
}

// Info says, for messages, what a [Source] reads from.
type Info struct {
	Library string // path or name of the library that was loaded
	Driver  string // version of the driver, empty when unknown
	NVML    string // version of the library, empty when unknown
}

// Source reads devices. Its calls may take milliseconds and may hang inside the
// kernel when a GPU has fallen off the bus: call them from goroutines that
// nothing waits for, as [Sampler] does.
//
// Memory and Processes may be called concurrently, for the same device too.
// Errors are *[Error]; [StatusOf] gives their status. After Close, which must
// not run beside other calls, every call fails with [StatusClosed].
type Source interface {
	// Info describes the library and the driver.
	Info() Info
	// Devices returns the devices found when the source was opened; the
	// slice is the caller's.
	Devices() []Device
	// Memory reads the memory of the device with that ID.
	Memory(device int) (Memory, error)
	// Processes lists the processes that use the device with that ID, each
	// PID once. It can take milliseconds during which the driver holds a
	// lock that programs using the GPU need.
	Processes(device int) ([]Process, error)
	// Close gives the library back.
	Close() error
}
