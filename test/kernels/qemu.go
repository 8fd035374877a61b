// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// maxConsole bounds what is kept of one console, in bytes.
const maxConsole = 64 << 20

// machine is one virtual machine to boot.
type machine struct {
	Arch    string // GOARCH of the guest
	Kernel  string // path of the image
	Initrd  string // path of the cpio archive, not compressed
	Timeout time.Duration
	Echo    io.Writer // gets the console too, as it prints
	// CountsInstructions: one processor, whose clock goes one ns an instruction, and
	// nothing that differs from one boot to the next.
	CountsInstructions bool
}

// boot runs a virtual machine until it switches itself off and returns
// everything its console printed, also together with an error. qemu is killed
// when the timeout is over, when ctx ends, or when this process dies.
func boot(ctx context.Context, m machine) ([]byte, error) {
	program, args, err := m.command()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, m.Timeout)
	defer cancel()
	var console limitedBuffer
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdout = io.MultiWriter(&console, m.Echo)
	cmd.Stderr = &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = 5 * time.Second
	// The signal comes when the thread that started qemu ends, so keep it.
	runtime.LockOSThread()
	err = cmd.Run()
	runtime.UnlockOSThread()
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		err = fmt.Errorf("the machine was still running after %v and was killed: see its log, or raise -timeout", m.Timeout)
	case ctx.Err() != nil:
		err = ctx.Err()
	case err != nil:
		err = fmt.Errorf("%s: %w: %s", program, err, lastLines(stderr.String(), 3))
	}
	return console.Bytes(), err
}

// command is qemu's command line.
//
// The emulator runs all guest processors on one thread: with a thread for each,
// an x86 guest now and then executes a breakpoint that its kernel's text
// patching has already taken back, and panics (seen with 6.12 on qemu 7.2).
func (m machine) command() (string, []string, error) {
	var program, console string
	var args []string
	switch m.Arch {
	case "amd64":
		program, console = "qemu-system-x86_64", "ttyS0"
		args = []string{"-cpu", "max"}
	case "arm64":
		program, console = "qemu-system-aarch64", "ttyAMA0"
		args = []string{"-machine", "virt", "-cpu", "cortex-a72"}
	default:
		return "", nil, fmt.Errorf("no virtual machine for architecture %s", m.Arch)
	}
	processors, cmdline := "2", "console="+console+" panic=-1 quiet"
	if m.CountsInstructions {
		processors = "1"
		// Addresses and random numbers decide how long lists and trees are.
		args = append(args, "-icount", "shift=0,sleep=off", "-rtc", "base=2026-01-01,clock=vm", "-seed", "1")
		cmdline += " nokaslr norandmaps tsc=reliable"
	}
	args = append(args,
		"-accel", "tcg,thread=single", "-smp", processors, "-m", "2048",
		"-nodefaults", "-display", "none", "-monitor", "none", "-nic", "none", "-no-reboot",
		"-serial", "stdio",
		"-kernel", m.Kernel, "-initrd", m.Initrd,
		"-append", cmdline,
	)
	return program, args, nil
}

// limitedBuffer keeps the first maxConsole bytes and drops the rest.
type limitedBuffer struct{ bytes.Buffer }

func (l *limitedBuffer) Write(b []byte) (int, error) {
	if room := maxConsole - l.Len(); room > 0 {
		l.Buffer.Write(b[:min(len(b), room)])
	}
	return len(b), nil
}
