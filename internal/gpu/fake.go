// SPDX-License-Identifier: Apache-2.0

package gpu

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// Fake is a [Source] in memory, for tests of this package and of others. All
// methods are safe for concurrent use.
type Fake struct {
	mu      sync.Mutex
	closed  bool
	devices []fakeDevice
}

type fakeDevice struct {
	info      Device
	memory    func() (Memory, error)
	processes func() ([]Process, error)
	delay     time.Duration
	hang      chan struct{} // calls wait until it is closed; nil: they do not
	hanging   int
	reads     int
	lists     int
}

// NewFake returns a source of n devices with 16 GiB each, nothing used, and
// empty process lists.
func NewFake(n int) *Fake {
	f := &Fake{devices: make([]fakeDevice, n)}
	for i := range f.devices {
		f.devices[i].info = Device{ID: i, Index: i, MIG: -1, UUID: fmt.Sprintf("GPU-fake-%d", i), Name: "Fake GPU"}
		f.SetUsed(i, 0)
		f.SetProcesses(i, nil, nil)
	}
	return f
}

// FakeTotal is the memory of each device of a [Fake], in bytes.
const FakeTotal = 16 << 30

// FakeMemory returns the memory of a Fake's device with that many bytes used.
func FakeMemory(used uint64) Memory {
	return Memory{Total: Bytes(FakeTotal), Used: Bytes(used), Free: Bytes(FakeTotal - used), Reserved: Bytes(0)}
}

// SetUsed makes reads of a device return that many bytes used.
func (f *Fake) SetUsed(device int, used uint64) {
	f.SetMemory(device, func() (Memory, error) { return FakeMemory(used), nil })
}

// SetStatus makes reads of a device's memory fail with a status.
func (f *Fake) SetStatus(device int, s Status) {
	f.SetMemory(device, func() (Memory, error) {
		return Memory{}, &Error{Op: fmt.Sprintf("read memory of device %d", device), Status: s}
	})
}

// SetMemory makes reads of a device return what fn returns; fn is called on the
// reader's goroutine and without a lock held.
func (f *Fake) SetMemory(device int, fn func() (Memory, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.devices[device].memory = fn
}

// SetProcesses sets a device's process list, or the error of reading it.
func (f *Fake) SetProcesses(device int, list []Process, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	list = slices.Clone(list)
	f.devices[device].processes = func() ([]Process, error) { return slices.Clone(list), err }
}

// SetDelay makes every call for a device take that long.
func (f *Fake) SetDelay(device int, d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.devices[device].delay = d
}

// Hang makes calls for a device wait until release is called; release may be
// called more than once.
func (f *Fake) Hang(device int) (release func()) {
	gate := make(chan struct{})
	f.mu.Lock()
	defer f.mu.Unlock()
	f.devices[device].hang = gate
	return sync.OnceFunc(func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.devices[device].hang = nil
		close(gate)
	})
}

// Hanging returns how many calls for a device wait in [Fake.Hang] now.
func (f *Fake) Hanging(device int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.devices[device].hanging
}

// Calls returns how many memory reads and process lists were asked of a device.
func (f *Fake) Calls(device int) (reads, lists int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.devices[device].reads, f.devices[device].lists
}

// Info implements [Source].
func (f *Fake) Info() Info { return Info{Library: "fake", Driver: "0.0", NVML: "0.0"} }

// Devices implements [Source].
func (f *Fake) Devices() []Device {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := make([]Device, len(f.devices))
	for i := range f.devices {
		list[i] = f.devices[i].info
	}
	return list
}

// Memory implements [Source].
func (f *Fake) Memory(device int) (Memory, error) {
	if err := f.enter(device, func(d *fakeDevice) { d.reads++ }); err != nil {
		return Memory{}, err
	}
	f.mu.Lock()
	fn := f.devices[device].memory
	f.mu.Unlock()
	return fn()
}

// Processes implements [Source].
func (f *Fake) Processes(device int) ([]Process, error) {
	if err := f.enter(device, func(d *fakeDevice) { d.lists++ }); err != nil {
		return nil, err
	}
	f.mu.Lock()
	fn := f.devices[device].processes
	f.mu.Unlock()
	return fn()
}

// Close implements [Source].
func (f *Fake) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	return nil
}

// Closed reports whether Close was called.
func (f *Fake) Closed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.closed
}

// enter counts a call and lets it take its time.
func (f *Fake) enter(device int, count func(*fakeDevice)) error {
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		return &Error{Op: "call a fake device", Status: StatusClosed}
	}
	d := &f.devices[device]
	count(d)
	delay, gate := d.delay, d.hang
	if gate != nil {
		d.hanging++
	}
	f.mu.Unlock()
	if delay > 0 {
		time.Sleep(delay)
	}
	if gate == nil {
		return nil
	}
	<-gate
	f.mu.Lock()
	defer f.mu.Unlock()
	f.devices[device].hanging--
	return nil
}
