// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// fixturesVariable names the folder in which the tests find the C programs that
// they would otherwise compile.
const fixturesVariable = "PHASETRACE_FIXTURES"

// guestFixtures is that folder in a guest.
const guestFixtures = "/pt/fixtures"

// prebuilder is a go command that fills the folder, here called DIR, with the
// compilers named by CC and CXX.
type prebuilder struct {
	args []string
	env  []string
}

// prebuilders are all of them: the shared programs, and those that a package
// keeps to itself.
var prebuilders = []prebuilder{
	{args: []string{"run", "./internal/fixture/prebuild", "-o", "DIR"}},
	{args: []string{"test", "-count=1", "./internal/process"}, env: []string{"PHASETRACE_TARGET_PREBUILD=DIR/target"}},
}

// addFixtures compiles the programs that the tests trace for the guest's
// architecture.
func (p *payload) addFixtures(ctx context.Context) error {
	dir := filepath.Join(p.root, filepath.FromSlash(strings.TrimPrefix(guestFixtures, "/")))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	fill := func(list []string) (out []string) {
		for _, s := range list {
			out = append(out, strings.ReplaceAll(s, "DIR", dir))
		}
		return out
	}
	for _, b := range prebuilders {
		cmd := exec.CommandContext(ctx, "go", fill(b.args)...)
		cmd.Env = append(os.Environ(), "CC="+compiler(p.arch), "CXX="+cxxCompiler(p.arch))
		cmd.Env = append(cmd.Env, fill(b.env)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("compile the traced programs: %w: %s", err, lastLines(string(out), 20))
		}
	}
	return nil
}

// cxxCompiler is the C++ compiler that goes with compiler.
func cxxCompiler(arch string) string { return strings.TrimSuffix(compiler(arch), "gcc") + "g++" }
