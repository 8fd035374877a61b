// SPDX-License-Identifier: Apache-2.0

// Package testenv says what the machine that runs the tests allows. It is for tests
// only. It knows privileges and kernel features; it must not know the tests.
package testenv

import (
	"os"
	"testing"

	"github.com/phasetrace/phasetrace/internal/loader"
)

// RequireEnv names the environment variable under which a missing privilege
// or kernel feature fails a test instead of skipping it.
const RequireEnv = "PHASETRACE_REQUIRE_BPF"

// Require fails or skips a test that the machine cannot run, for the reason
// given.
func Require(t testing.TB, ok bool, reason string) {
	t.Helper()
	if ok {
		return
	}
	if Required() {
		t.Fatalf("this machine must run this test, and cannot: %s", reason)
	}
	t.Skip(reason)
}

// Required reports whether a test that cannot run fails instead of being
// skipped.
func Required() bool { return os.Getenv(RequireEnv) != "" || os.Getenv("CI") != "" }

// CanBPF returns why BPF programs cannot be loaded here, nil if they can.
func CanBPF() error {
	_, err := loader.DetectFeatures(loader.Without{})
	return err
}

// BPF requires that BPF programs can be loaded.
func BPF(t testing.TB) {
	t.Helper()
	if err := CanBPF(); err != nil {
		Require(t, false, err.Error())
	}
}

// Without returns the kernel features that this run of the tests does not use.
func Without(t testing.TB) loader.Without {
	t.Helper()
	w, err := loader.ParseWithout(os.Getenv(loader.WithoutEnv))
	if err != nil {
		t.Fatal(err)
	}
	return w
}
