// SPDX-License-Identifier: Apache-2.0

//go:build linux && cgo && !nonvml

package nvsample

import "github.com/NVIDIA/go-nvml/pkg/dl"

// canLoad loads a library for good, in the way go-nvml will find it again. It
// is asked before go-nvml because that drops the loader's message.
func canLoad(path string) error {
	return dl.New(path, dl.RTLD_LAZY|dl.RTLD_GLOBAL).Open()
}
