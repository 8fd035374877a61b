// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/phasetrace/phasetrace/internal/session"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// exeInterval is how often it is looked whether the first process of a program has
// started.
const exeInterval = 100 * time.Millisecond

// parseExecutables checks the programs that are to be traced whoever starts them.
func (o *traceOptions) parseExecutables(out *session.Config) error {
	for _, path := range o.executables {
		f, err := os.Open(path)
		switch found, miss := exec.LookPath(path); {
		case errors.Is(err, fs.ErrNotExist) && miss == nil:
			return usageError("--exe %s: no such file; did you mean --exe %s?", path, quoted(found))
		case errors.Is(err, fs.ErrNotExist):
			return usageError("--exe %s: no such file", path)
		case err != nil:
			return usageError("--exe: %w", err)
		}
		head := make([]byte, 4)
		_, err = io.ReadFull(f, head)
		_ = f.Close() // it was only read
		switch {
		case err == nil && string(head[:2]) == "#!":
			return usageError("--exe %s: that is a script: name the program that runs it, or a process with -p PID", path)
		case err != nil || string(head) != "\x7fELF":
			return usageError("--exe %s: not the file of a program", path)
		}
	}
	out.Executables = o.executables
	out.Follow = out.Follow || len(o.executables) > 0
	return nil
}

// addExecutables adds the processes that run the programs now. Without any other
// target it waits for the first.
func (o *traceOptions) addExecutables(ctx context.Context, s *session.Session, say func(string)) error {
	if len(o.executables) == 0 {
		return nil
	}
	told := false
	for {
		n, err := s.AddRunning(ctx)
		if err != nil {
			return advise(err)
		}
		if n > 0 || len(o.targets) > 0 {
			return nil
		}
		if !told {
			told = true
			say("waiting for a process that runs " + strings.Join(o.executables, " or "))
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("interrupted before a process ran %s: nothing was traced", strings.Join(o.executables, " or "))
		case <-time.After(exeInterval):
		}
	}
}

// noteExecutables notes what the targets run, while they do.
func (o *traceOptions) noteExecutables() {
	for _, pid := range o.targets {
		path, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/exe")
		path = strings.TrimSuffix(path, " (deleted)")
		if err == nil && !slices.Contains(o.ran, path) {
			o.ran = append(o.ran, path)
		}
	}
}

// sayRestart says how to go on with a program that is started again, when a session has
// ended because its processes have.
func (o *traceOptions) sayRestart(sum *stream.Summary, say func(string)) {
	if sum.EndReason != "target_exit" || len(o.ran) == 0 || len(o.ran) > maxListed {
		return
	}
	flags := make([]string, len(o.ran))
	for i, path := range o.ran {
		flags[i] = "--exe " + quoted(path)
	}
	which := "the process has"
	if len(o.targets) > 1 {
		which = "the processes have"
	}
	say(fmt.Sprintf("%s ended, and the trace with it; to trace a program across restarts: phasetrace %s", which, strings.Join(flags, " ")))
}
