// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/phasetrace/phasetrace/internal/gpu"
)

// gpuTime bounds the wait for the driver: a broken one can hang.
const gpuTime = 5 * time.Second

// gpuFacts are what NVML said.
type gpuFacts struct {
	err     error
	info    gpu.Info
	devices []gpu.Device
	refused []string // devices whose memory cannot be read, and why
}

var errGPUTime = errors.New("the driver does not answer")

// lookAtGPU asks NVML. A driver that hangs keeps a goroutine until it answers.
func lookAtGPU(open func() (gpu.Source, error), limit time.Duration) gpuFacts {
	answer := make(chan gpuFacts, 1)
	go func() {
		src, err := open()
		if err != nil {
			answer <- gpuFacts{err: err}
			return
		}
		f := gpuFacts{info: src.Info(), devices: src.Devices()}
		for _, d := range f.devices {
			if _, err := src.Memory(d.ID); err != nil {
				f.refused = append(f.refused, fmt.Sprintf("%s: %v", deviceName(d), err))
			}
		}
		f.err = src.Close()
		answer <- f
	}()
	select {
	case f := <-answer:
		return f
	case <-time.After(limit):
		return gpuFacts{err: errGPUTime}
	}
}

func deviceName(d gpu.Device) string {
	if d.MIG >= 0 {
		return fmt.Sprintf("GPU %d instance %d (%s)", d.Index, d.MIG, d.Name)
	}
	return fmt.Sprintf("GPU %d (%s)", d.Index, d.Name)
}

// judgeGPU says whether phases will carry the memory of devices; phases are
// traced without as well.
func judgeGPU(f gpuFacts) []Check {
	c := Check{Group: GroupGPU, Name: "nvml", Purpose: "read the memory of NVIDIA GPUs at each boundary", Result: OK}
	switch {
	case errors.Is(f.err, errGPUTime):
		c.Result, c.Detail = Missing, fmt.Sprintf("the driver did not answer within %v", gpuTime)
		c.Remedy = "see whether nvidia-smi hangs as well; if so, the driver or a GPU has to be reset"
		return []Check{c}
	case f.err != nil:
		status := gpu.StatusOf(f.err)
		c.Result, c.Remedy = Missing, status.Advice()
		c.Detail = strings.TrimSuffix(short(f.err), "; "+c.Remedy)
		if status == gpu.StatusNoLibrary || status == gpu.StatusMismatch {
			c.Advice = AdviseNVMLLibrary
		}
		return []Check{c}
	}
	c.Detail = fmt.Sprintf("%s, driver %s", f.info.Library, f.info.Driver)
	cs := []Check{c}
	devices := Check{Group: GroupGPU, Name: "gpu_memory", Purpose: "have a GPU to read", Result: OK}
	for i, d := range f.devices {
		if i > 0 {
			devices.Detail += ", "
		}
		devices.Detail += deviceName(d)
	}
	devices.Count = len(f.devices)
	if len(f.refused) > 0 {
		devices.Result = Warn
		devices.Detail += fmt.Sprintf("; memory of %d cannot be read: %s", len(f.refused), f.refused[0])
	}
	return append(cs, devices)
}
