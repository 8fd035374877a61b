// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// doctorID marks the output of phasetrace doctor on the console.
const doctorID = "doctor"

// check is one line of phasetrace doctor.
type check struct {
	Group  string
	Name   string
	Result string
	Detail string
}

// parseDoctor reads phasetrace doctor's JSON: what it found, and whether tracing
// works.
func parseDoctor(output []byte) ([]check, bool, error) {
	var d struct {
		Works  bool
		Checks []check
	}
	// Messages may stand before the object.
	start := max(0, bytes.IndexByte(output, '{'))
	if err := json.NewDecoder(bytes.NewReader(output[start:])).Decode(&d); err != nil {
		return nil, false, fmt.Errorf("read the result of phasetrace doctor: %w: %s", err, lastLines(string(output), 1))
	}
	return d.Checks, d.Works, nil
}
