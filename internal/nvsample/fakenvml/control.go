// SPDX-License-Identifier: Apache-2.0

//go:build linux

package fakenvml

import (
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Env is the environment variable that names the control file of the fake
// libraries.
const Env = "PHASETRACE_FAKE_NVML"

const (
	magic     = 0x6c6d766e656b6166
	processes = 8
	// Devices is the most devices the fake has.
	Devices = 4
	// Clock as a device's Used makes each read return its own time, in ns
	// of CLOCK_MONOTONIC.
	Clock = ^uint64(0)
	// NoValue is NVML's "not available" as a process's memory.
	NoValue = ^uint64(0)
)

// U64 is a field shared with the fake libraries.
type U64 struct{ v uint64 }

// Set stores a value for the next call into the library.
func (u *U64) Set(v uint64) { atomic.StoreUint64(&u.v, v) }

// Get loads what is stored now.
func (u *U64) Get() uint64 { return atomic.LoadUint64(&u.v) }

// Process is one entry of a process list.
type Process struct{ PID, Used U64 }

// Device mirrors struct fake_device in csrc/control.h; see there.
type Device struct {
	Used, Total, Reserved              U64 // bytes
	HandleReturn                       U64 // NVML return values, 0: success
	MemoryReturn, MemoryV2Return       U64
	ProcessesReturn                    U64
	HangMemory, HangProcesses          U64 // not 0: calls wait
	DelayNS                            U64
	MIG                                U64 // number of instances
	Computes, Graphics                 U64 // entries used of the lists
	Compute, Graphic                   [processes]Process
	MemoryCalls, ProcessCalls, Hanging U64 // written by the library
}

// SetCompute replaces the list of compute processes: pairs of PID and bytes.
func (d *Device) SetCompute(pairs ...uint64) { set(&d.Computes, &d.Compute, pairs) }

// SetGraphics replaces the list of graphics processes: pairs of PID and bytes.
func (d *Device) SetGraphics(pairs ...uint64) { set(&d.Graphics, &d.Graphic, pairs) }

func set(n *U64, list *[processes]Process, pairs []uint64) {
	n.Set(0)
	for i := 0; i+1 < len(pairs); i += 2 {
		list[i/2].PID.Set(pairs[i])
		list[i/2].Used.Set(pairs[i+1])
	}
	n.Set(uint64(len(pairs) / 2))
}

// Control mirrors struct fake_control in csrc/control.h.
type Control struct {
	magic            uint64
	InitReturn       U64
	Count            U64 // devices
	Inits, Shutdowns U64 // written by the library
	Device           [Devices]Device
}

// Create makes a control file of n devices with 16 GiB each, nothing used, and
// maps it. It stays mapped until the process ends.
func Create(path string, n int) (*Control, error) {
	size := int(unsafe.Sizeof(Control{}))
	if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
		return nil, fmt.Errorf("create the fake's control file: %w", err)
	}
	c, err := Attach(path)
	if err != nil {
		return nil, err
	}
	for i := range c.Device {
		c.Device[i].Total.Set(16 << 30)
	}
	c.Count.Set(uint64(n))
	atomic.StoreUint64(&c.magic, magic)
	return c, nil
}

// Attach maps a control file that exists.
func Attach(path string) (*Control, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("open the fake's control file: %w", err)
	}
	defer f.Close()
	b, err := unix.Mmap(int(f.Fd()), 0, int(unsafe.Sizeof(Control{})), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map the fake's control file: %w", err)
	}
	return (*Control)(unsafe.Pointer(unsafe.SliceData(b))), nil
}
