// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/phasetrace/phasetrace/internal/nvsample"
	tracing "github.com/phasetrace/phasetrace/internal/trace"
)

// gpuOpenTime bounds how long the start waits for the driver. A driver that
// takes longer is used once it answers.
const gpuOpenTime = 3 * time.Second

// startGPU starts to sample device memory as --gpu says.
func (o *traceOptions) startGPU(ctx context.Context, out *tracing.Options) (stop func(), err error) {
	if o.gpu == "off" {
		out.GPUStatus = "off"
		return func() {}, nil
	}
	sampler := nvsample.StartOpening(
		func() (nvsample.Source, error) { return nvsample.Open(o.nvmlLibrary) },
		nvsample.Options{
			Interval: o.gpuInterval, PIDs: out.PIDs,
			Report: func(p nvsample.Problem) {
				if o.gpu == "require" || o.nvmlLibrary != "" || p.Kind != "library" {
					out.Message(p.Message)
				}
			},
		})
	stop = func() {
		if err := sampler.Close(); err != nil {
			out.Message(err.Error())
		}
	}
	ctx, cancel := context.WithTimeout(ctx, gpuOpenTime)
	defer cancel()
	switch err := sampler.Opened(ctx); {
	case err == nil:
		out.GPU = sampler
		return stop, nil
	case o.gpu == "require":
		stop()
		return nil, fmt.Errorf("--gpu require: %w", err)
	case o.nvmlLibrary != "":
		// A library that was asked for may still come to work.
		out.GPU, out.GPUStatus = sampler, nvsample.StatusOf(err).String()
		return stop, nil
	default:
		out.GPUStatus = nvsample.StatusOf(err).String()
		stop()
		return func() {}, nil
	}
}
