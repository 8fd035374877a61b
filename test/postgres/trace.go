// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// trace runs a command of the page and does something once phasetrace has attached, which
// must be over before phasetrace ends. It returns what phasetrace has written to standard
// output.
func (b *bench) trace(command string, do func() error) (string, error) {
	cmd, err := b.shell(command)
	if err != nil {
		return "", err
	}
	out, said, err := b.files()
	if err != nil {
		return "", err
	}
	defer out.Close()
	defer said.Close()
	cmd.Stdout, cmd.Stderr = out, said
	if err := cmd.Start(); err != nil {
		return "", err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	failed := within(30*time.Second, "phasetrace to attach", func() bool {
		text, err := os.ReadFile(said.Name())
		return err == nil && bytes.Contains(text, []byte("attached to"))
	})
	if failed == nil {
		failed = do()
	}
	if failed == nil && len(ended) > 0 {
		failed = errors.New("the work took longer than phasetrace traced: this machine is too busy")
	}
	err = <-ended // by itself, after the time that the page gives
	switch {
	case failed != nil:
		return "", failed
	case err != nil:
		complaint, _ := os.ReadFile(said.Name())
		return "", fmt.Errorf("%s: %w\n%s", command, err, complaint)
	}
	text, err := os.ReadFile(out.Name())
	return string(text), err
}

// shell is a command as a user of the page runs it, but that root needs no sudo.
func (b *bench) shell(command string) (*exec.Cmd, error) {
	pid, err := b.pid()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("bash", "-c", "sudo() { \"$@\"; }\n"+command)
	cmd.Dir = b.work
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(b.phasetrace)+":"+os.Getenv("PATH"), "PM="+pid)
	return cmd, nil
}

// files are for what phasetrace writes and says.
func (b *bench) files() (out, said *os.File, err error) {
	if out, err = os.Create(filepath.Join(b.work, b.asked+".txt")); err != nil {
		return nil, nil, err
	}
	said, err = os.Create(filepath.Join(b.work, b.asked+".err"))
	return out, said, err
}

// group is one of the groups of --by in a session's last line.
type group struct {
	Group string `json:"group"`
	Count uint64 `json:"count"`
	Total int64  `json:"total_ns"`
	P99   int64  `json:"p99_ns"`
}

// phase is one of the phases of that line.
type phase struct {
	Path   []string `json:"path"`
	Count  uint64   `json:"count"`
	Total  int64    `json:"total_ns"`
	P99    int64    `json:"p99_ns"`
	Groups []group  `json:"groups"`
}

// summary reads the last line of a session's JSON lines.
func (b *bench) summary(name string) ([]phase, error) {
	text, err := os.ReadFile(filepath.Join(b.work, name))
	if err != nil {
		return nil, err
	}
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	var end struct {
		Phases     []phase
		Records    struct{ Lost uint64 }
		Violations struct{ Total uint64 }
	}
	if err := json.Unmarshal(lines[len(lines)-1], &end); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if end.Records.Lost > 0 || end.Violations.Total > 0 {
		return nil, fmt.Errorf("%s: %d records lost and %d violations: want none", name, end.Records.Lost, end.Violations.Total)
	}
	return end.Phases, nil
}

// lines returns the lines of a text that have all of these parts.
func lines(text string, parts ...string) (out []string) {
next:
	for line := range strings.Lines(text) {
		for _, part := range parts {
			if !strings.Contains(line, part) {
				continue next
			}
		}
		out = append(out, strings.TrimSpace(line))
	}
	return out
}
