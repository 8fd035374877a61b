// SPDX-License-Identifier: Apache-2.0

// Package markers holds what programs include to be traced, for use by Go code:
// tests and the demo compile programs against it. It must not know tracing.
package markers

import _ "embed"

// CHeader is the text of phasetrace.h, the marker header for C and C++.
//
//go:embed c/phasetrace.h
var CHeader string
