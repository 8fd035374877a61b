// SPDX-License-Identifier: Apache-2.0

// Gpucheck compares what phasetrace says about the GPU memory of phases with
// what a program really did in them: it builds examples/gpu, traces it with
// `phasetrace run`, and compares change and peak of every phase.
//
//	go run ./internal/gpucheck              on a machine with an NVIDIA GPU, as root
//	go run ./internal/gpucheck -fake        the same over fake libraries, without one
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
	"text/tabwriter"
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
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	c, err := parse(args, stderr)
	if err != nil {
		return err
	}
	dir := c.keep
	if dir == "" {
		if dir, err = os.MkdirTemp("", "gpucheck"); err != nil {
			return fmt.Errorf("make a directory: %w", err)
		}
		defer os.RemoveAll(dir)
	} else if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	if err := c.prepare(ctx, dir); err != nil {
		return err
	}
	log, trace := filepath.Join(dir, "program.jsonl"), filepath.Join(dir, "trace.jsonl")
	if err := c.trace(ctx, dir, log, trace, stderr); err != nil {
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
	if err := buildProgram(ctx, c.root, filepath.Join(dir, "phases")); err != nil {
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
	if _, err := fakenvml.Create(control, c.device+1); err != nil {
		return err
	}
	c.environment = append(c.environment, fakenvml.Env+"="+control)
	return nil
}

// buildProgram compiles the program of examples/gpu.
func buildProgram(ctx context.Context, root, output string) error {
	cc := os.Getenv("CC")
	if cc == "" {
		cc = "cc"
	}
	source := filepath.Join(root, "examples", "gpu")
	return command(exec.CommandContext(ctx, cc, "-std=gnu11", "-O2", "-Wall", "-Wextra", "-I"+filepath.Join(root, "markers", "c"),
		"-o", output, filepath.Join(source, "phases.c"), filepath.Join(source, "cuda.c"), "-ldl"))
}

func command(cmd *exec.Cmd) error {
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("run %s: %w\n%s", strings.Join(cmd.Args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

// trace runs the program under phasetrace.
func (c *config) trace(ctx context.Context, dir, log, trace string, stderr io.Writer) error {
	args := []string{"run", "--gpu", "require", "--format", "jsonl", "--output", trace}
	if c.library != "" {
		args = append(args, "--nvml-library", c.library)
	}
	args = append(args, "--", filepath.Join(dir, "phases"), "-l", log,
		"-d", fmt.Sprint(c.device), "-t", fmt.Sprint(c.hold.Milliseconds()))
	if c.cuda != "" {
		args = append(args, "-c", c.cuda)
	}
	cmd := exec.CommandContext(ctx, c.phasetrace, args...)
	cmd.Env = append(os.Environ(), c.environment...)
	cmd.Stdout, cmd.Stderr = stderr, stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("trace the program: %w; its messages are above", err)
	}
	return nil
}

func compareFiles(log, trace string, tolerance int64) (*report, error) {
	l, err := os.Open(log)
	if err != nil {
		return nil, fmt.Errorf("open the program's log: %w", err)
	}
	defer l.Close()
	t, err := os.Open(trace)
	if err != nil {
		return nil, fmt.Errorf("open the trace: %w", err)
	}
	defer t.Close()
	return compare(l, t, tolerance)
}

// print writes the comparison as a table and returns an error unless all of it
// is right.
func (r *report) print(w io.Writer) error {
	var uts syscall.Utsname
	if err := syscall.Uname(&uts); err == nil {
		fmt.Fprintf(w, "kernel %s, driver %s, ", text(uts.Release[:]), driver())
	}
	fmt.Fprintf(w, "CUDA %d.%d, %s\n\n", r.Device.CUDAVersion/1000, r.Device.CUDAVersion%1000/10, r.Device.Name)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "PHASE\tCHANGE MiB\tDONE\tPEAK MiB\tDONE\tSAMPLES\tENTER AGE\tEXIT AGE\t")
	for _, x := range r.Rows {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%d\t%v\t%v\t%s %s\n", strings.Join(x.Path, " / "),
			mib(x.GotChange), mib(x.WantChange), mib(x.GotPeak), mib(x.WantPeak), x.Samples,
			time.Duration(x.EnterAge), time.Duration(x.ExitAge), x.Verdict, x.Why)
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("write the comparison: %w", err)
	}
	for _, p := range r.Problems {
		fmt.Fprintln(w, "problem:", p)
	}
	if !r.ok() {
		return fmt.Errorf("the trace does not say what the program did; if other programs use this GPU, stop them and try again")
	}
	fmt.Fprintln(w, "\nall phases agree")
	return nil
}

func mib(n int64) string { return fmt.Sprintf("%.1f", float64(n)/(1<<20)) }

func text[T int8 | uint8](chars []T) string {
	var b strings.Builder
	for _, c := range chars {
		if c == 0 {
			break
		}
		b.WriteByte(byte(c))
	}
	return b.String()
}

func driver() string {
	b, err := os.ReadFile("/sys/module/nvidia/version")
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(b))
}
