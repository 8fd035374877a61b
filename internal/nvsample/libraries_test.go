// SPDX-License-Identifier: Apache-2.0

package nvsample

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/phasetrace/phasetrace/internal/gpu"
)

func TestDriverVersion(t *testing.T) {
	for _, tt := range []struct{ name, file, text, want string }{
		{"module", "sys/module/nvidia/version", "550.54.15\n", "550.54.15"},
		{"proprietary", "proc/driver/nvidia/version", "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.129.03  Thu Oct 19 18:56:32 UTC 2023\nGCC version:  gcc version 12.2.0\n", "535.129.03"},
		{"open", "proc/driver/nvidia/version", "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  550.90.07  Release Build  (root)\n", "550.90.07"},
		{"garbage", "proc/driver/nvidia/version", "hello\n", ""},
		{"none", "", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			if tt.file != "" {
				path := filepath.Join(root, tt.file)
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if got := driverVersion(root); got != tt.want {
				t.Errorf("driverVersion = %q, want %q", got, tt.want)
			}
		})
	}
	if got := versionDetail("1.2", ""); got != "library 1.2, kernel driver of unknown version" {
		t.Errorf("versionDetail = %q", got)
	}
}

func TestLibraryPlaces(t *testing.T) {
	if got := libraryCandidates("/x/y.so"); len(got) != 1 || got[0] != "/x/y.so" {
		t.Errorf("with the user's choice: %v", got)
	}
	usual := libraryCandidates("")
	if usual[0] != "libnvidia-ml.so.1" || len(usual) < 8 {
		t.Errorf("usual places: %v", usual)
	}
	var tried []string
	got, err := tryLibraries(usual, func(c string) error {
		tried = append(tried, c)
		if strings.Contains(c, "/wsl/") {
			return nil
		}
		return errors.New("not here")
	})
	if err != nil || got != "/usr/lib/wsl/lib/libnvidia-ml.so.1" || tried[0] != usual[0] {
		t.Errorf("found %q, %v after %v", got, err, tried)
	}
	_, err = tryLibraries(usual, func(string) error { return errors.New("not here") })
	if gpu.StatusOf(err) != gpu.StatusNoLibrary || !strings.Contains(err.Error(), "or name the file") {
		t.Errorf("nowhere: %v", err)
	}
}
