// SPDX-License-Identifier: Apache-2.0

//go:build linux && cgo && !nonvml

package nvsample

import (
	"fmt"
	"sync"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/phasetrace/phasetrace/internal/gpu"
)

// go-nvml leaves NVML's functions undefined in the binary. Bound lazily they are
// looked up at their first call, after the library was loaded; bound at start,
// as hardened toolchains default to, the program would not even start on a
// machine without the library. The go command does not accept -z lazy in a
// source file, so builds pass CGO_LDFLAGS=-Wl,-z,lazy; see docs/gpu.md.

// loaded is the one library of this process: functions stay bound to the library
// that was called first.
var loaded struct {
	sync.Mutex
	path string
	lib  nvml.Interface
}

// nvmlSource is the real Source.
type nvmlSource struct {
	info    gpu.Info
	devices []nvmlDevice
	lib     nvml.Interface
	has     symbols
	closed  bool
	retry   sync.Mutex
}

type nvmlDevice struct {
	gpu.Device
	handle nvml.Device
	err    error // of getting the handle, which every read tries again; guarded by nvmlSource.retry
}

// symbols are the functions that some libraries lack.
type symbols struct {
	memory, memoryV2, compute, graphics bool
	mig                                 bool
	name, uuid                          bool
}

func openNVML(path string) (gpu.Source, error) {
	loaded.Lock()
	defer loaded.Unlock()
	if err := load(path); err != nil {
		return nil, err
	}
	lib := loaded.lib
	if ret := lib.Init(); ret != nvml.SUCCESS {
		return nil, initError(ret, loaded.path)
	}
	s := &nvmlSource{lib: lib, has: lookUp(lib), info: describe(lib, loaded.path)}
	if err := s.find(); err != nil {
		lib.Shutdown()
		return nil, err
	}
	return s, nil
}

// load makes loaded.lib usable; it needs the lock.
func load(path string) error {
	if loaded.lib != nil {
		if path != "" && path != loaded.path {
			return &gpu.Error{Op: "open the NVML library " + path, Status: gpu.StatusNoLibrary,
				Detail: "this process already uses " + loaded.path}
		}
		return nil
	}
	file, err := tryLibraries(libraryCandidates(path), canLoad)
	if err != nil {
		return err
	}
	loaded.path, loaded.lib = file, nvml.New(nvml.WithLibraryPath(file))
	return nil
}

func lookUp(lib nvml.Interface) symbols {
	has := func(names ...string) bool {
		for _, name := range names {
			if lib.Extensions().LookupSymbol(name) == nil {
				return true
			}
		}
		return false
	}
	return symbols{
		memory:   has("nvmlDeviceGetMemoryInfo"),
		memoryV2: has("nvmlDeviceGetMemoryInfo_v2"),
		compute:  has("nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetComputeRunningProcesses_v2", "nvmlDeviceGetComputeRunningProcesses"),
		graphics: has("nvmlDeviceGetGraphicsRunningProcesses_v3", "nvmlDeviceGetGraphicsRunningProcesses_v2", "nvmlDeviceGetGraphicsRunningProcesses"),
		mig:      has("nvmlDeviceGetMigMode") && has("nvmlDeviceGetMaxMigDeviceCount") && has("nvmlDeviceGetMigDeviceHandleByIndex"),
		name:     has("nvmlDeviceGetName"),
		uuid:     has("nvmlDeviceGetUUID"),
	}
}

func describe(lib nvml.Interface, path string) gpu.Info {
	info := gpu.Info{Library: path}
	if lib.Extensions().LookupSymbol("nvmlSystemGetDriverVersion") == nil {
		if v, ret := lib.SystemGetDriverVersion(); ret == nvml.SUCCESS {
			info.Driver = v
		}
	}
	if lib.Extensions().LookupSymbol("nvmlSystemGetNVMLVersion") == nil {
		if v, ret := lib.SystemGetNVMLVersion(); ret == nvml.SUCCESS {
			info.NVML = v
		}
	}
	return info
}

// find fills in the devices. A device that cannot be opened stays in the list
// with its error, so that the others keep their numbers.
func (s *nvmlSource) find() error {
	count, ret := s.lib.DeviceGetCount()
	if ret != nvml.SUCCESS {
		return nvmlError("count GPUs", ret)
	}
	if count == 0 {
		return &gpu.Error{Op: "count GPUs", Status: gpu.StatusNoDevice}
	}
	for i := range count {
		handle, ret := s.lib.DeviceGetHandleByIndex(i)
		if ret != nvml.SUCCESS {
			op := fmt.Sprintf("find GPU %d", i)
			s.devices = append(s.devices, nvmlDevice{Device: gpu.Device{Index: i, MIG: -1}, err: nvmlError(op, ret)})
			continue
		}
		if !s.findMIG(i, handle) {
			s.add(i, -1, handle)
		}
	}
	for id := range s.devices {
		s.devices[id].ID = id
	}
	return nil
}

// findMIG adds the MIG instances of a GPU; false when it has none, or none that
// this process may see.
func (s *nvmlSource) findMIG(index int, handle nvml.Device) bool {
	if !s.has.mig {
		return false
	}
	if mode, _, ret := handle.GetMigMode(); ret != nvml.SUCCESS || mode != nvml.DEVICE_MIG_ENABLE {
		return false
	}
	count, ret := handle.GetMaxMigDeviceCount()
	if ret != nvml.SUCCESS {
		return false
	}
	found := false
	for i := range count {
		if instance, ret := handle.GetMigDeviceHandleByIndex(i); ret == nvml.SUCCESS {
			s.add(index, i, instance)
			found = true
		}
	}
	return found
}

func (s *nvmlSource) add(index, mig int, handle nvml.Device) {
	d := nvmlDevice{Device: gpu.Device{Index: index, MIG: mig}, handle: handle}
	if s.has.uuid {
		if uuid, ret := handle.GetUUID(); ret == nvml.SUCCESS {
			d.UUID = uuid
		}
	}
	if s.has.name {
		if name, ret := handle.GetName(); ret == nvml.SUCCESS {
			d.Name = name
		}
	}
	s.devices = append(s.devices, d)
}

// Info implements Source.
func (s *nvmlSource) Info() gpu.Info { return s.info }

// Devices implements Source.
func (s *nvmlSource) Devices() []gpu.Device {
	list := make([]gpu.Device, len(s.devices))
	for i, d := range s.devices {
		list[i] = d.Device
	}
	return list
}

// Close implements Source.
func (s *nvmlSource) Close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	loaded.Lock()
	defer loaded.Unlock()
	if ret := s.lib.Shutdown(); ret != nvml.SUCCESS {
		return nvmlError("close the NVML library", ret)
	}
	return nil
}
