// SPDX-License-Identifier: Apache-2.0

//go:build linux && cgo && !nonvml

package nvsample

import "github.com/NVIDIA/go-nvml/pkg/dl"

// canLoad loads a library for good, in a way that lets go-nvml find it again. It
// runs before go-nvml, which drops the loader's message.
func canLoad(path string) error {
	return dl.New(path, dl.RTLD_LAZY|dl.RTLD_GLOBAL).Open()
}
