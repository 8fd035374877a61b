// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"

	"github.com/phasetrace/phasetrace/internal/output/file"
)

// progress shows how far a table is, where a person waits for it; "" takes that away.
// The figures go elsewhere, and stay as they are.
func (b *bench) progress(format string, args ...any) {
	if f, ok := b.log.(*os.File); ok && file.IsTerminal(f) {
		fmt.Fprintf(f, "\r\x1b[K"+format, args...)
	}
}
