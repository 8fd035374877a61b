// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
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

// parseDoctor reads phasetrace doctor's JSON. It is an error when tracing would
// not work.
func parseDoctor(output []byte) ([]check, error) {
	var d struct {
		Works  bool
		Checks []check
	}
	// Messages may stand before the object.
	start := max(0, bytes.IndexByte(output, '{'))
	if err := json.NewDecoder(bytes.NewReader(output[start:])).Decode(&d); err != nil {
		return nil, fmt.Errorf("read the result of phasetrace doctor: %w: %s", err, lastLines(string(output), 1))
	}
	if !d.Works {
		return d.Checks, errors.New("phasetrace doctor says that tracing does not work")
	}
	return d.Checks, nil
}
