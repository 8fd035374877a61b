// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// execID marks on the console what the folder of -exec printed, and guestExec is
// that folder in the guest, relative to its root. Its program execName is run.
const (
	execID    = "exec"
	guestExec = "pt/exec"
	execName  = "run"
)

// checkExec finds options that do not go together.
func (o *options) checkExec() error {
	if o.exec != "" && (o.only == "" || strings.Contains(o.only, ",") || o.doc+o.modes+o.pkgs+o.run != "" || o.keep) {
		return errors.New("-exec runs one program on one kernel: name the kernel with -only, and no tests")
	}
	if o.icount && o.exec == "" {
		return errors.New("-icount goes with -exec: the tests need two processors")
	}
	return nil
}

// execute boots one kernel with a folder in it, runs the program that the folder
// has, instead of tests, and copies what it prints to w.
func (h *harness) execute(ctx context.Context, k kernel, w io.Writer) error {
	cache, err := newCache()
	if err != nil {
		return err
	}
	initrd, img, err := h.execGuest(ctx, cache, k)
	if err != nil {
		return err
	}
	defer os.Remove(initrd)
	if err := os.MkdirAll(h.opts.logs, 0o755); err != nil {
		return fmt.Errorf("make the folder for the logs: %w", err)
	}
	logPath := filepath.Join(h.opts.logs, k.ID+"-"+execID+".log")
	log, err := os.Create(logPath)
	if err != nil {
		return err
	}
	defer log.Close()
	console, err := boot(ctx, machine{
		Arch: k.Arch, Kernel: img.Path, Initrd: initrd, Timeout: h.opts.timeout, Echo: log, CountsInstructions: h.opts.icount,
	})
	if err == nil {
		err = h.executed(console, w)
	}
	if err != nil {
		return fmt.Errorf("%s: %w: see %s", img.Package, err, logPath)
	}
	return nil
}

// execGuest writes the archive of a guest that holds a folder and no tests.
func (h *harness) execGuest(ctx context.Context, c *cache, k kernel) (initrd string, img image, err error) {
	root, err := os.MkdirTemp("", "phasetrace-guest-")
	if err != nil {
		return "", img, err
	}
	p := &payload{arch: k.Arch, root: root}
	defer p.remove()
	if err := p.addSystem(ctx, c); err != nil {
		return "", img, err
	}
	if err := os.CopyFS(filepath.Join(root, filepath.FromSlash(guestExec)), os.DirFS(h.opts.exec)); err != nil {
		return "", img, fmt.Errorf("copy %s: %w", h.opts.exec, err)
	}
	if img, err = c.kernelImage(ctx, k); err != nil {
		return "", img, fmt.Errorf("kernel %s: %w", k.ID, err)
	}
	fmt.Fprintf(h.out, "%s is %s\n", k.ID, img.Package)
	img.Modules = nil
	k.Modes = nil
	initrd, err = p.initramfs(k, img, guestOptions{})
	return initrd, img, err
}

// executed copies what a program printed out of its console.
func (h *harness) executed(console []byte, w io.Writer) error {
	t := parseConsole(console)
	s := t.steps[execID]
	switch {
	case s == nil:
		return errors.New("the machine ended before it ran anything")
	case !s.ended:
		return errors.New("the machine ended while the program ran")
	}
	if _, err := w.Write(s.output); err != nil {
		return err
	}
	if t.kernelLog != nil {
		return fmt.Errorf("the kernel complained: %s", strings.Join(t.kernelLog, "; "))
	}
	if s.exit != 0 {
		return fmt.Errorf("the program ended with status %d", s.exit)
	}
	return nil
}
