// SPDX-License-Identifier: Apache-2.0

// Probe opens the NVML library of its argument and prints the status.
package main

import (
	"fmt"
	"os"

	"github.com/phasetrace/phasetrace/internal/gpu"
	"github.com/phasetrace/phasetrace/internal/nvsample"
)

func main() {
	src, err := nvsample.Open(os.Args[1])
	fmt.Println(gpu.StatusOf(err))
	if err == nil {
		src.Close()
	}
}
