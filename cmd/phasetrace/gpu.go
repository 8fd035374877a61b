// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/phasetrace/phasetrace/internal/gpu"
	"github.com/phasetrace/phasetrace/internal/nvsample"
	"github.com/phasetrace/phasetrace/internal/session"
)

// How long the start waits for the driver: where GPUs must be there, longer than
// any healthy one takes. Else one that takes longer is used once it answers.
const (
	gpuOpenTime    = 3 * time.Second
	gpuRequireTime = 30 * time.Second
)

// checkLibrary refuses to load a library of the caller's choice with rights that
// the caller does not have: those of file capabilities, or of a set-user-ID file.
func checkLibrary(path string) error {
	const atSecure = 23 // AT_SECURE, include/uapi/linux/auxvec.h
	values, err := unix.Auxv()
	if path == "" || err == nil && !slices.Contains(values, [2]uintptr{atSecure, 1}) {
		return nil
	}
	return usageError("--nvml-library is not taken by a phasetrace with file capabilities: run it as root instead")
}

// startGPU starts to sample device memory as --gpu says.
func (o *traceOptions) startGPU(ctx context.Context, out *session.Config) (stop func(), err error) {
	if o.gpu == "off" {
		out.GPUStatus = "off"
		return func() {}, nil
	}
	var opened atomic.Bool // before, what is wrong with the library is the error of "require"
	sampler := gpu.StartOpening(
		func() (gpu.Source, error) { return nvsample.Open(o.nvmlLibrary) },
		gpu.Options{
			Interval: o.gpuInterval, PIDs: o.targets,
			Report: func(p gpu.Problem) {
				if p.Kind != "library" || (o.gpu == "require" && opened.Load()) || (o.gpu != "require" && o.nvmlLibrary != "") {
					out.Message(p.Message + gpuAdvice(p.Status))
				}
			},
		})
	stop = func() {
		if err := sampler.Close(); err != nil {
			out.Message(err.Error())
		}
	}
	wait := gpuOpenTime
	if o.gpu == "require" {
		wait = gpuRequireTime
	}
	opening, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	switch err := sampler.Opened(opening); {
	case err == nil:
		opened.Store(true)
		out.GPU = sampler
		return stop, nil
	case o.gpu == "require":
		stop()
		return nil, fmt.Errorf("--gpu require: %w%s", err, gpuAdvice(gpu.StatusOf(err)))
	case o.nvmlLibrary != "", gpu.StatusOf(err) == gpu.StatusTimeout:
		// A library that was asked for, or that is slow, may still start to work.
		out.GPU, out.GPUStatus = sampler, gpu.StatusOf(err).String()
		return stop, nil
	default:
		out.GPUStatus = gpu.StatusOf(err).String()
		stop()
		return func() {}, nil
	}
}
