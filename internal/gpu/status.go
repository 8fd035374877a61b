// SPDX-License-Identifier: Apache-2.0

package gpu

import (
	"errors"
	"fmt"
)

// Status says what a read, or the lack of one, is worth. Values are known only
// under [StatusOK].
type Status uint8

// The statuses. The zero Status is StatusNoSample, so that a value nobody filled
// in never passes for a read.
const (
	StatusNoSample      Status = iota // no read was made near that time
	StatusOK                          // read
	StatusNotUsed                     // not read: the target does not use the device
	StatusNotBuilt                    // the binary contains no NVML backend
	StatusNoLibrary                   // no NVML library could be loaded
	StatusNoDriver                    // the kernel driver is not loaded
	StatusNoDevice                    // there is no NVIDIA GPU
	StatusNotReady                    // the driver is not ready yet
	StatusMismatch                    // library and driver are of different versions
	StatusLost                        // the GPU fell off the bus
	StatusResetRequired               // the GPU must be reset
	StatusTimeout                     // the call did not return in time
	StatusNotSupported                // this device does not report that value
	StatusNoPermission                // the driver refuses to report that value
	StatusMissingSymbol               // the library is too old to be asked
	StatusNotAvailable                // the driver has no value at the moment
	StatusNotListed                   // the device's process list lacks the process
	StatusClosed                      // the source was closed
	StatusError                       // any other error of NVML
	numStatuses
)

type statusText struct{ name, what, advice string }

var statusTexts = [numStatuses]statusText{
	StatusNoSample:      {"no_sample", "the device was not read near that time", "read it more often"},
	StatusOK:            {"ok", "read", ""},
	StatusNotUsed:       {"not_used", "the traced program does not use this device", ""},
	StatusNotBuilt:      {"not_built", "this build contains no NVML backend", "build on Linux with cgo, glibc and without the nonvml tag"},
	StatusNoLibrary:     {"no_library", "the NVML library was not found", "install the NVIDIA driver's libraries, or name the file"},
	StatusNoDriver:      {"driver_not_loaded", "the NVIDIA kernel driver is not loaded", "load it (modprobe nvidia) or check dmesg"},
	StatusNoDevice:      {"no_device", "no NVIDIA GPU was found", "check lspci and, in a container, NVIDIA_VISIBLE_DEVICES"},
	StatusNotReady:      {"not_ready", "the GPU is not ready yet", "wait; phasetrace asks again"},
	StatusMismatch:      {"version_mismatch", "the NVML library and the kernel driver have different versions", "reboot or reload the driver after its update, or name the file of the matching library"},
	StatusLost:          {"device_lost", "the GPU is lost: it fell off the bus or cannot be reached", "check dmesg for Xid messages; the machine may need a reboot"},
	StatusResetRequired: {"reset_required", "the GPU must be reset before it can be used", "stop its users, then run nvidia-smi --gpu-reset"},
	StatusTimeout:       {"timeout", "the driver did not answer in time", "check dmesg for Xid messages; reads resume when the call returns"},
	StatusNotSupported:  {"not_supported", "the device does not report this value", "on unified memory look at the process's memory instead"},
	StatusNoPermission:  {"no_permission", "the driver refuses to report this value", "run as root; on a partitioned GPU make its MIG instances visible"},
	StatusMissingSymbol: {"missing_symbol", "the NVML library is too old to report this value", "update the NVIDIA driver"},
	StatusNotAvailable:  {"not_available", "the driver has no value for this", "run outside the container, in the host's PID namespace"},
	StatusNotListed:     {"not_listed", "the device's process list does not contain the process", "run in the host's PID namespace if the process does use the GPU"},
	StatusClosed:        {"closed", "the source is closed", ""},
	StatusError:         {"error", "NVML failed", "run nvidia-smi to see whether the driver works at all"},
}

// String returns the status as outputs write it: lower case, with underscores.
// The set of strings is part of the output format.
func (s Status) String() string {
	if s >= numStatuses {
		s = StatusError
	}
	return statusTexts[s].name
}

// What returns one human sentence, without a full stop, that says what the
// status means.
func (s Status) What() string {
	if s >= numStatuses {
		s = StatusError
	}
	return statusTexts[s].what
}

// Advice returns what the user can do about the status, empty when there is
// nothing to do.
func (s Status) Advice() string {
	if s >= numStatuses {
		s = StatusError
	}
	return statusTexts[s].advice
}

// Statuses returns the strings of all statuses, for schemas and documentation.
func Statuses() []string {
	names := make([]string, 0, numStatuses)
	for s := range numStatuses {
		names = append(names, s.String())
	}
	return names
}

// opensLater reports whether opening a source again can succeed without a restart
// of this process.
func (s Status) opensLater() bool {
	switch s {
	case StatusNotBuilt, StatusMismatch, StatusClosed:
		return false
	}
	return true
}

// Error is a failed operation on NVML.
type Error struct {
	Op     string // what was tried, e.g. "read memory of device 0"
	Status Status
	Code   int    // NVML's return value, 0 when the error is not NVML's
	Detail string // what the table of statuses cannot know, e.g. two versions
}

// Error returns one line: the operation, what failed, and what the user can do.
func (e *Error) Error() string {
	text := e.Op + ": " + e.Status.What()
	if e.Status == StatusError && e.Code != 0 {
		text += fmt.Sprintf(" with code %d", e.Code)
	}
	if e.Detail != "" {
		text += " (" + e.Detail + ")"
	}
	if advice := e.Status.Advice(); advice != "" {
		text += "; " + advice
	}
	return text
}

// StatusOf returns the status of an error of this package: StatusOK for nil,
// StatusError for an error of another kind.
func StatusOf(err error) Status {
	if err == nil {
		return StatusOK
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Status
	}
	return StatusError
}
