// SPDX-License-Identifier: Apache-2.0

// Kernels runs phasetrace's privileged tests on real Linux kernels, old and
// new, on both architectures, in virtual machines without KVM.
//
// Every kernel is a Debian package, named in matrix.go, fetched with apt as any
// user (nothing is installed and the machine's own apt state is left alone) and
// kept in the user's cache directory. The guest is an initramfs made of
// busybox, the cross-built test binaries, the C programs they trace, and
// init.sh, which runs the tests once per attach mode and reports on the serial
// console. The run fails when a test fails, when a skip is not one that
// matrix.go allows, when nothing ran, or when the kernel complained.
//
// The command line:
//
//	go run ./test/kernels [-list] [-only ID,…] [-modes NAME,…] [-keep] [-doc FILE] [-v]
//	go run ./test/kernels -only ID -exec FOLDER [-icount]
//
// The second form runs one program in a guest, and no tests.
//
// It knows the product only through its test binaries and the features that
// they let the environment force away; it imports none of its packages.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// options are the command line's choices.
type options struct {
	list    bool
	only    string
	modes   string
	pkgs    string
	run     string
	doc     string
	logs    string
	keep    bool
	exec    string
	icount  bool
	jobs    int
	timeout time.Duration
	verbose bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "kernels:", err)
		os.Exit(1)
	}
}

// run is the whole command: it returns an error unless every chosen kernel
// passed.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	opts, err := parseFlags(args, stderr)
	if err != nil {
		return err
	}
	chosen, err := choose(kernels, opts.only, opts.modes)
	if err != nil {
		return err
	}
	if opts.list {
		return list(stdout, chosen)
	}
	if err := checkTools(chosen); err != nil {
		return err
	}
	h := &harness{opts: opts, out: &lockedWriter{w: stderr}}
	if opts.exec != "" {
		return h.execute(ctx, chosen[0], stdout)
	}
	outcomes, err := h.runAll(ctx, chosen)
	if err != nil {
		return err
	}
	var missing []string
	if opts.keep {
		all, err := choose(kernels, "", opts.modes)
		if err != nil {
			return err
		}
		outcomes, missing = h.withKept(ctx, all, outcomes)
	}
	rep := newReport(outcomes, "make test-kernels")
	rep.missing = missing
	rep.summary(stdout)
	if opts.doc != "" {
		if err := os.MkdirAll(filepath.Dir(opts.doc), 0o755); err != nil {
			return fmt.Errorf("make the folder of the report: %w", err)
		}
		if err := os.WriteFile(opts.doc, rep.markdown(), 0o644); err != nil {
			return fmt.Errorf("write the report: %w", err)
		}
	}
	return rep.err()
}

func parseFlags(args []string, stderr io.Writer) (options, error) {
	var o options
	fs := flag.NewFlagSet("kernels", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.BoolVar(&o.list, "list", false, "print the kernels and modes, run nothing")
	fs.StringVar(&o.only, "only", "", "comma-separated kernel `ids` (default: all)")
	fs.StringVar(&o.modes, "modes", "", "comma-separated attach mode `names` (default: all of each kernel)")
	fs.StringVar(&o.pkgs, "pkgs", "", "comma-separated `packages` whose tests to run, each with =REGEXP for some of its tests (default: the list in matrix.go)")
	fs.StringVar(&o.run, "run", "", "run only tests that match this `regexp`, as go test -run does")
	fs.StringVar(&o.doc, "doc", "", "write the matrix as Markdown to this `file`")
	fs.StringVar(&o.logs, "logs", filepath.Join("build", "kernels"), "`folder` for the consoles' logs")
	fs.BoolVar(&o.keep, "keep", false, "take kernels that are not in -only from their logs")
	fs.StringVar(&o.exec, "exec", "", "run the program run of this `folder` on one kernel, instead of tests, and print what it prints")
	fs.BoolVar(&o.icount, "icount", false, "with -exec: one processor, whose clock counts instructions as ns")
	fs.IntVar(&o.jobs, "jobs", runtime.NumCPU(), "virtual machines at a time")
	fs.DurationVar(&o.timeout, "timeout", 60*time.Minute, "longest life of one virtual machine")
	fs.BoolVar(&o.verbose, "v", false, "show the consoles as they print")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if fs.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q: choose kernels with -only", fs.Arg(0))
	}
	if o.doc != "" && !o.keep && o.only+o.modes != "" {
		return o, errors.New("-doc describes the whole matrix: leave out -only and -modes, or take the other kernels from their logs with -keep")
	}
	if o.jobs < 1 {
		o.jobs = 1
	}
	return o, o.checkExec()
}

func list(w io.Writer, chosen []kernel) error {
	for _, k := range chosen {
		for _, m := range k.Modes {
			if _, err := fmt.Fprintf(w, "%-12s %-24s %s\n", k.ID, m.Name, m.Why); err != nil {
				return err
			}
		}
	}
	return nil
}

// harness carries what the runs of one command share.
type harness struct {
	opts options
	out  io.Writer // progress; safe for concurrent use
}

// runAll prepares everything the kernels need, one step after another, then
// boots them, opts.jobs at a time. An error means that the matrix could not be
// run; a failing kernel is an outcome.
func (h *harness) runAll(ctx context.Context, chosen []kernel) ([]outcome, error) {
	cache, err := newCache()
	if err != nil {
		return nil, err
	}
	pkgs := h.opts.packages()
	payloads := map[string]*payload{}
	for _, arch := range archesOf(chosen) {
		fmt.Fprintf(h.out, "building the tests for %s\n", arch)
		p, err := buildPayload(ctx, cache, arch, pkgs)
		if err != nil {
			return nil, fmt.Errorf("build the tests for %s: %w", arch, err)
		}
		defer p.remove()
		payloads[arch] = p
	}
	images := make([]image, len(chosen))
	for i, k := range chosen {
		if images[i], err = cache.kernelImage(ctx, k); err != nil {
			return nil, fmt.Errorf("kernel %s: %w", k.ID, err)
		}
		fmt.Fprintf(h.out, "%s is %s\n", k.ID, images[i].Package)
	}
	if err := os.MkdirAll(h.opts.logs, 0o755); err != nil {
		return nil, fmt.Errorf("make the folder for the logs: %w", err)
	}
	outcomes := make([]outcome, len(chosen))
	slots := make(chan struct{}, h.opts.jobs)
	var wg sync.WaitGroup
	for _, i := range slowestFirst(chosen) {
		k := chosen[i]
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			outcomes[i] = h.runOne(ctx, k, images[i], payloads[k.Arch])
			fmt.Fprintf(h.out, "%s: %s\n", k.ID, outcomes[i].verdict())
		})
	}
	wg.Wait()
	return outcomes, ctx.Err()
}

// slowestFirst is the order in which kernels are started, as indexes, so that no
// long one is left for the end: those with most modes, and of these the ones of
// another architecture, which are emulated in full.
func slowestFirst(ks []kernel) []int {
	order := make([]int, len(ks))
	for i := range order {
		order[i] = i
	}
	cost := func(i int) int {
		if ks[i].Arch != runtime.GOARCH {
			return 2 * len(ks[i].Modes)
		}
		return len(ks[i].Modes)
	}
	slices.SortStableFunc(order, func(a, b int) int { return cost(b) - cost(a) })
	return order
}

// packages are those whose tests run.
func (o *options) packages() []testPackage {
	if o.pkgs == "" {
		return testPackages
	}
	var pkgs []testPackage
	for word := range strings.SplitSeq(o.pkgs, ",") {
		dir, run, _ := strings.Cut(word, "=")
		pkgs = append(pkgs, testPackage{Dir: strings.TrimPrefix(path.Clean(dir), "./"), Modes: true, Run: run})
	}
	return pkgs
}

// selection is what -pkgs and -run choose, "" for everything.
func (o *options) selection() string {
	var words []string
	if o.pkgs != "" {
		words = append(words, "-pkgs "+quote(o.pkgs))
	}
	if o.run != "" {
		words = append(words, "-run "+quote(o.run))
	}
	return strings.Join(words, " ")
}

// runOne boots one kernel and judges what it printed.
func (h *harness) runOne(ctx context.Context, k kernel, img image, p *payload) outcome {
	out := outcome{Kernel: k, Package: img.Package, Selection: h.opts.selection()}
	logPath := filepath.Join(h.opts.logs, k.ID+".log")
	initrd, err := p.initramfs(k, img, guestOptions{Run: h.opts.run, Timeout: h.opts.timeout / 3})
	if err != nil {
		out.Problems = append(out.Problems, err.Error())
		return out
	}
	defer os.Remove(initrd)
	log, err := os.Create(logPath)
	if err != nil {
		out.Problems = append(out.Problems, err.Error())
		return out
	}
	defer log.Close()
	fmt.Fprintln(log, aboutLine(img.Package, h.opts.selection()))
	echo := io.Writer(log)
	if h.opts.verbose {
		echo = io.MultiWriter(log, &prefixWriter{w: h.out, prefix: k.ID + " | "})
	}
	start := time.Now()
	console, err := boot(ctx, machine{Arch: k.Arch, Kernel: img.Path, Initrd: initrd, Timeout: h.opts.timeout, Echo: echo})
	out.Wall = time.Since(start)
	fmt.Fprintln(log, wallLine(out.Wall))
	if err != nil {
		out.Problems = append(out.Problems, err.Error())
	}
	out.Log = logPath
	out.judge(ctx, console, planOf(p.pkgs, k))
	return out
}

// lockedWriter serialises writes of several goroutines.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

// prefixWriter puts a prefix before every line. Not safe for concurrent use.
type prefixWriter struct {
	w      io.Writer
	prefix string
	line   []byte
}

func (p *prefixWriter) Write(b []byte) (int, error) {
	for _, c := range b {
		switch c {
		case '\r':
		case '\n':
			if _, err := fmt.Fprintf(p.w, "%s%s\n", p.prefix, p.line); err != nil {
				return 0, err
			}
			p.line = p.line[:0]
		default:
			p.line = append(p.line, c)
		}
	}
	return len(b), nil
}
