// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package nvsample

import "time"

var start = time.Now()

// Now returns ns of a monotonic clock; on Linux it is CLOCK_MONOTONIC.
func Now() int64 { return int64(time.Since(start)) }
