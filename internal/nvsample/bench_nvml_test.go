// SPDX-License-Identifier: Apache-2.0

//go:build linux && cgo && !nonvml

package nvsample

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/phasetrace/phasetrace/internal/nvsample/fakenvml"
)

// BenchmarkNVML is what a read costs from Go to the library and back, over a
// library that answers at once.
func BenchmarkNVML(b *testing.B) {
	dir := b.TempDir()
	library, err := fakenvml.BuildNVML(dir, false)
	if err != nil {
		b.Fatal(err)
	}
	control := filepath.Join(dir, "control")
	c, err := fakenvml.Create(control, 1)
	if err != nil {
		b.Fatal(err)
	}
	c.Device[0].SetCompute(1, 2, 3, 4)
	if err := os.Setenv(fakenvml.Env, control); err != nil {
		b.Fatal(err)
	}
	src, err := Open(library)
	if err != nil {
		b.Fatal(err)
	}
	defer src.Close()
	b.Run("memory", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := src.Memory(0); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("processes", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := src.Processes(0); err != nil {
				b.Fatal(err)
			}
		}
	})
}
