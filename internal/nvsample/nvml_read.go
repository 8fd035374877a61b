// SPDX-License-Identifier: Apache-2.0

//go:build linux && cgo && !nonvml

package nvsample

import (
	"fmt"
	"math"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/phasetrace/phasetrace/internal/gpu"
)

// device returns the device to call for op, or why it cannot be called.
func (s *nvmlSource) device(op string, id int, available bool) (*nvmlDevice, error) {
	if id < 0 || id >= len(s.devices) {
		return nil, &gpu.Error{Op: op, Status: gpu.StatusError, Detail: fmt.Sprintf("there is no device %d", id)}
	}
	d := &s.devices[id]
	switch {
	case s.closed:
		return nil, &gpu.Error{Op: op, Status: gpu.StatusClosed}
	case !available:
		return nil, &gpu.Error{Op: op + " of " + d.Label(), Status: gpu.StatusMissingSymbol}
	}
	return d, s.handleOf(d)
}

// handleOf gets the handle of a device that could not be opened before: it may
// have been starting, or may have been reset since.
func (s *nvmlSource) handleOf(d *nvmlDevice) error {
	s.retry.Lock()
	defer s.retry.Unlock()
	if d.err == nil {
		return nil
	}
	handle, ret := s.lib.DeviceGetHandleByIndex(d.Index)
	if ret != nvml.SUCCESS {
		d.err = nvmlError(fmt.Sprintf("find GPU %d", d.Index), ret)
		return d.err
	}
	d.handle, d.err = handle, nil
	return nil
}

// Memory implements Source.
func (s *nvmlSource) Memory(id int) (gpu.Memory, error) {
	const op = "read memory"
	d, err := s.device(op, id, s.has.memory || s.has.memoryV2)
	if err != nil {
		return gpu.Memory{}, err
	}
	if s.has.memoryV2 {
		m, ret := d.handle.GetMemoryInfo_v2()
		if ret == nvml.SUCCESS {
			return gpu.Memory{Total: gpu.Bytes(m.Total), Free: gpu.Bytes(m.Free), Used: gpu.Bytes(m.Used), Reserved: gpu.Bytes(m.Reserved)}, nil
		}
		if !s.has.memory || (ret != nvml.ERROR_FUNCTION_NOT_FOUND && ret != nvml.ERROR_ARGUMENT_VERSION_MISMATCH) {
			return gpu.Memory{}, nvmlError(op+" of "+d.Label(), ret)
		}
	}
	m, ret := d.handle.GetMemoryInfo()
	if ret != nvml.SUCCESS {
		return gpu.Memory{}, nvmlError(op+" of "+d.Label(), ret)
	}
	return gpu.Memory{Total: gpu.Bytes(m.Total), Free: gpu.Bytes(m.Free), Used: gpu.Bytes(m.Used)}, nil
}

// noValue is what the driver puts where it does not account by process
// (NVML_VALUE_NOT_AVAILABLE in nvml.h).
const noValue = math.MaxUint64

// Processes implements Source. A process with both a compute and a graphics
// context is in two lists, each time with all of its memory.
func (s *nvmlSource) Processes(id int) ([]gpu.Process, error) {
	const op = "read the process list"
	d, err := s.device(op, id, s.has.compute || s.has.graphics)
	if err != nil {
		return nil, err
	}
	var list []gpu.Process
	failed := nvml.ERROR_NOT_SUPPORTED
	answered := false
	for _, get := range []struct {
		available bool
		call      func() ([]nvml.ProcessInfo, nvml.Return)
	}{{s.has.compute, d.handle.GetComputeRunningProcesses}, {s.has.graphics, d.handle.GetGraphicsRunningProcesses}} {
		if !get.available {
			continue
		}
		infos, ret := get.call()
		switch {
		case ret == nvml.SUCCESS:
			answered = true
			list = merge(list, infos)
		case failed == nvml.ERROR_NOT_SUPPORTED:
			failed = ret
		}
	}
	if !answered {
		return nil, nvmlError(op+" of "+d.Label(), failed)
	}
	return list, nil
}

// merge adds processes to a list that has each PID once. Drivers report PID 0 for
// processes outside the reader's container.
func merge(list []gpu.Process, infos []nvml.ProcessInfo) []gpu.Process {
next:
	for _, info := range infos {
		if info.Pid == 0 {
			continue
		}
		p := gpu.Process{PID: int(info.Pid)}
		if info.UsedGpuMemory != noValue {
			p.Used = gpu.Bytes(info.UsedGpuMemory)
		}
		for i := range list {
			if list[i].PID == p.PID {
				if !list[i].Used.Known || (p.Used.Known && p.Used.N > list[i].Used.N) {
					list[i].Used = p.Used
				}
				continue next
			}
		}
		list = append(list, p)
	}
	return list
}

// nvmlError gives a return value of NVML its status.
func nvmlError(op string, ret nvml.Return) error {
	return &gpu.Error{Op: op, Status: statusOfReturn(ret), Code: int(ret)}
}

func statusOfReturn(ret nvml.Return) gpu.Status {
	switch ret {
	case nvml.SUCCESS:
		return gpu.StatusOK
	case nvml.ERROR_LIBRARY_NOT_FOUND:
		return gpu.StatusNoLibrary
	case nvml.ERROR_DRIVER_NOT_LOADED:
		return gpu.StatusNoDriver
	case nvml.ERROR_NOT_READY:
		return gpu.StatusNotReady
	case nvml.ERROR_LIB_RM_VERSION_MISMATCH:
		return gpu.StatusMismatch
	case nvml.ERROR_GPU_NOT_FOUND:
		return gpu.StatusNoDevice
	case nvml.ERROR_GPU_IS_LOST:
		return gpu.StatusLost
	case nvml.ERROR_RESET_REQUIRED:
		return gpu.StatusResetRequired
	case nvml.ERROR_NOT_SUPPORTED:
		return gpu.StatusNotSupported
	case nvml.ERROR_NO_PERMISSION:
		return gpu.StatusNoPermission
	case nvml.ERROR_FUNCTION_NOT_FOUND:
		return gpu.StatusMissingSymbol
	case nvml.ERROR_TIMEOUT:
		return gpu.StatusTimeout
	case nvml.ERROR_NO_DATA:
		return gpu.StatusNotAvailable
	case nvml.ERROR_UNINITIALIZED:
		return gpu.StatusClosed
	default:
		return gpu.StatusError
	}
}

// initError explains why NVML did not start.
func initError(ret nvml.Return, path string) error {
	err := &gpu.Error{Op: "start NVML from " + path, Status: statusOfReturn(ret), Code: int(ret)}
	if err.Status == gpu.StatusMismatch {
		err.Detail = versionDetail(libraryVersion(), driverVersion("/"))
	}
	return err
}
