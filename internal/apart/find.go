// SPDX-License-Identifier: Apache-2.0

package apart

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// WorkerOf returns the process id of a front's worker, 0 while there is none. It is
// for tests and measurements.
func WorkerOf(front int) int {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", front)) // the pattern is right
	for _, name := range lists {
		list, _ := os.ReadFile(name) // it may have ended
		for _, field := range strings.Fields(string(list)) {
			env, _ := os.ReadFile("/proc/" + field + "/environ")
			if pid, err := strconv.Atoi(field); err == nil && bytes.Contains(env, []byte(workerVar+"=")) {
				return pid
			}
		}
	}
	return 0
}
