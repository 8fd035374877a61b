// SPDX-License-Identifier: Apache-2.0

// Gpucheck compares what phasetrace says about the GPU memory of phases with
// what a program really did in them: it builds examples/gpu, traces it with
// `phasetrace run`, and compares change and peak of every phase.
//
//	go run ./internal/gpucheck              on a machine with an NVIDIA GPU, as root
//	go run ./internal/gpucheck -fake        the same over fake libraries, without one
//
// With -loops it compares, of short phases that follow each other at once, what
// phasetrace says was in use at every boundary, and counts how many of these figures
// are certain, and whether one that is said to be certain is false.
//
// It knows the command line and the JSON lines of phasetrace, and nothing of how
// it works.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/phasetrace/phasetrace/internal/nvsample/fakenvml"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "gpucheck:", err)
		os.Exit(1)
	}
}

type config struct {
	phasetrace  string
	library     string
	cuda        string
	keep        string
	device      int
	hold        time.Duration
	tolerance   int64
	fake        bool
	root        string // of the module
	environment []string
	control     *fakenvml.Control

	runLoops           bool
	rounds             int
	phase              time.Duration
	forward, optimizer int // MiB
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	c, err := parse(args, stderr)
	if err != nil {
		return err
	}
	dir := c.keep
	if dir == "" {
		if dir, err = os.MkdirTemp("", "gpucheck"); err != nil {
			return fmt.Errorf("make a directory: %w", err)
		}
		defer func() {
			if err == nil || !c.runLoops { // a loop's trace shows what is wrong
				os.RemoveAll(dir)
			}
		}()
	} else if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	if err := c.prepare(ctx, dir); err != nil {
		return err
	}
	if c.runLoops {
		all := gpuLoops()
		if c.fake {
			all = fakeLoops()
		}
		rows, err := c.loops(ctx, dir, all, stderr)
		if err != nil {
			return err
		}
		return rows.print(stdout)
	}
	return c.phases(ctx, dir, stdout, stderr)
}

// phases checks the changes and peaks of examples/gpu/phases.c.
func (c *config) phases(ctx context.Context, dir string, stdout, stderr io.Writer) error {
	log, trace := filepath.Join(dir, "program.jsonl"), filepath.Join(dir, "trace.jsonl")
	args := []string{filepath.Join(dir, "phases"), "-l", log, "-d", fmt.Sprint(c.device), "-t", fmt.Sprint(c.hold.Milliseconds())}
	if c.cuda != "" {
		args = append(args, "-c", c.cuda)
	}
	// The figure of an exit is the last read before it: every state needs one.
	if err := c.trace(ctx, trace, c.hold/4, stderr, args...); err != nil {
		return err
	}
	r, err := compareFiles(log, trace, c.tolerance)
	if err != nil {
		return err
	}
	return r.print(stdout)
}

func parse(args []string, stderr io.Writer) (*config, error) {
	c := &config{}
	f := flag.NewFlagSet("gpucheck", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&c.phasetrace, "phasetrace", "", "binary to check; built from this tree when empty")
	f.StringVar(&c.library, "nvml-library", "", "passed on to phasetrace")
	f.StringVar(&c.keep, "keep", "", "directory that keeps the program's log and the trace")
	f.IntVar(&c.device, "device", 0, "GPU to use, as nvidia-smi numbers it")
	f.DurationVar(&c.hold, "hold", 200*time.Millisecond, "how long the program keeps each state")
	f.Int64Var(&c.tolerance, "tolerance", 8<<20, "bytes by which sizes may differ")
	f.BoolVar(&c.fake, "fake", false, "use fake libraries instead of a GPU")
	f.BoolVar(&c.runLoops, "loops", false, "check short phases that follow each other at once")
	f.IntVar(&c.rounds, "rounds", 12, "rounds of a loop; each has three phases")
	f.DurationVar(&c.phase, "phase", 20*time.Millisecond, "how long a phase of a loop takes")
	f.IntVar(&c.forward, "forward", 300, "MiB that a loop's first phase takes and its last one frees")
	f.IntVar(&c.optimizer, "optimizer", 40, "MiB that a loop keeps of each round")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return nil, fmt.Errorf("find the source tree: %w; run this inside of it", err)
	}
	c.root = strings.TrimSpace(string(root))
	return c, nil
}

// prepare builds what is missing into dir.
func (c *config) prepare(ctx context.Context, dir string) error {
	program := "phases"
	if c.runLoops {
		program = "loops"
	}
	if err := buildProgram(ctx, c.root, filepath.Join(dir, program)); err != nil {
		return err
	}
	if c.fake {
		if err := c.prepareFake(dir); err != nil {
			return err
		}
	}
	if c.phasetrace != "" {
		return nil
	}
	c.phasetrace = filepath.Join(dir, "phasetrace")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", c.phasetrace, "./cmd/phasetrace")
	cmd.Dir = c.root
	cmd.Env = append(os.Environ(), "CGO_LDFLAGS=-O2 -g -Wl,-z,lazy")
	return command(cmd)
}

func (c *config) prepareFake(dir string) (err error) {
	if c.library, err = fakenvml.BuildNVML(dir, false); err != nil {
		return err
	}
	if c.cuda, err = fakenvml.BuildCUDA(dir); err != nil {
		return err
	}
	control := filepath.Join(dir, "control")
	if c.control, err = fakenvml.Create(control, c.device+1); err != nil {
		return err
	}
	c.environment = append(c.environment, fakenvml.Env+"="+control)
	return nil
}

// buildProgram compiles the program of examples/gpu that the output is named after.
func buildProgram(ctx context.Context, root, output string) error {
	cc := os.Getenv("CC")
	if cc == "" {
		cc = "cc"
	}
	source := filepath.Join(root, "examples", "gpu")
	return command(exec.CommandContext(ctx, cc, "-std=gnu11", "-O2", "-Wall", "-Wextra", "-I"+filepath.Join(root, "markers", "c"),
		"-o", output, filepath.Join(source, filepath.Base(output)+".c"), filepath.Join(source, "cuda.c"), "-ldl", "-pthread"))
}

func command(cmd *exec.Cmd) error {
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("run %s: %w\n%s", strings.Join(cmd.Args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

func (c *config) loopCommand(dir, log string, x combination) []string {
	args := []string{filepath.Join(dir, "loops"), "-l", log, "-d", fmt.Sprint(c.device),
		"-n", fmt.Sprint(x.threads), "-p", x.where, "-g", fmt.Sprint(x.gap.Microseconds()),
		"-r", fmt.Sprint(c.rounds), "-t", fmt.Sprint(c.phase.Microseconds()),
		"-a", fmt.Sprint(c.forward), "-k", fmt.Sprint(c.optimizer)}
	if c.fake { // what others use is known
		return append(args, "-b", "20", "-c", c.cuda)
	}
	return append(args, "-b", fmt.Sprint(c.hold.Milliseconds()))
}

// trace runs a program under phasetrace, with that interval between reads at rest, 0:
// phasetrace's own. What phasetrace says goes to stderr.
func (c *config) trace(ctx context.Context, trace string, interval time.Duration, stderr io.Writer, program ...string) error {
	args := []string{"run", "--gpu", "require", "--format", "jsonl", "--output", trace}
	if interval > 0 {
		args = append(args, "--gpu-interval", interval.String())
	}
	if c.library != "" {
		args = append(args, "--nvml-library", c.library)
	}
	cmd := exec.CommandContext(ctx, c.phasetrace, append(append(args, "--"), program...)...)
	cmd.Env = append(os.Environ(), c.environment...)
	cmd.Stdout, cmd.Stderr = stderr, stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("trace the program: %w; its messages are above", err)
	}
	return nil
}

func compareFiles(log, trace string, tolerance int64) (*report, error) {
	var r *report
	err := withFiles(log, trace, func(l, t io.Reader) (err error) {
		r, err = compare(l, t, tolerance)
		return err
	})
	return r, err
}

// withFiles opens a program's log and its trace.
func withFiles(log, trace string, use func(log, trace io.Reader) error) error {
	l, err := os.Open(log)
	if err != nil {
		return fmt.Errorf("open the program's log: %w", err)
	}
	defer l.Close()
	t, err := os.Open(trace)
	if err != nil {
		return fmt.Errorf("open the trace: %w", err)
	}
	defer t.Close()
	return use(l, t)
}
