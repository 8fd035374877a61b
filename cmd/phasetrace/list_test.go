// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/phasetrace/phasetrace/internal/probe"

	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/inspect"
	"github.com/phasetrace/phasetrace/internal/testenv"
)

// inspected is what a command that only looks came to.
type inspected struct {
	status   int
	out, err string
}

func looked(args ...string) inspected {
	var out, errw bytes.Buffer
	status := run(context.Background(), args, strings.NewReader(""), &out, &errw)
	return inspected{status, out.String(), errw.String()}
}

func (r inspected) want(t *testing.T, status int, parts ...string) {
	t.Helper()
	if r.status != status {
		t.Errorf("status %d, want %d; %s%s", r.status, status, r.out, r.err)
	}
	for _, p := range parts {
		if !strings.Contains(r.out+r.err, p) {
			t.Errorf("no %q in %s%s", p, r.out, r.err)
		}
	}
}

func TestListRefuses(t *testing.T) {
	text := filepath.Join(t.TempDir(), "te\x1b[2Jxt")
	if err := os.WriteFile(text, []byte("text"), 0o644); err != nil {
		t.Fatal(err)
	}
	plain := emptyELF(t)
	for _, c := range []struct {
		args   []string
		status int
		parts  []string
	}{
		{[]string{"list"}, statusUsage, []string{"-p PID"}},
		{[]string{"list", "-p", "1", "/bin/sh"}, statusUsage, []string{"not both"}},
		{[]string{"list", "-p", "0"}, statusUsage, []string{"--pid 0"}},
		{[]string{"list", "-p", "x"}, statusUsage, []string{`--pid "x": want the number of a process`}},
		{[]string{"list", "--pair", "nonsense", plain}, statusUsage, []string{"--pair"}},
		{[]string{"list", "-p", "4194304"}, statusFailed, []string{"4194304", "no such process"}},
		{[]string{"list", text}, statusFailed, []string{`te\x1b[2Jxt`, "not an ELF file"}},
		{[]string{"list", filepath.Join(t.TempDir(), "none")}, statusFailed, []string{"none", "no such file"}},
		{[]string{"list", plain}, statusFailed, []string{"no USDT probes", plain}},
		{[]string{"list", "--json", plain}, statusFailed, []string{"no USDT probes", `"sites":[]`}},
	} {
		looked(c.args...).want(t, c.status, c.parts...)
	}
}

// emptyELF is the path of a program that has nothing in it.
func emptyELF(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	h := elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT), Ehsize: 64, Phentsize: 56, Shentsize: 64,
	}
	if err := binary.Write(&b, binary.LittleEndian, h); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestListFileAndProcess(t *testing.T) {
	path := fixture.Build(t, "phases.c")
	looked("list", path).want(t, statusFine, "phasetrace:enter", ourNop(), "arg1 name str", "1 pair, 1 traced")
	onlyPairs := looked("list", "--pairs", path)
	onlyPairs.want(t, statusFine, "phasetrace:enter")
	if strings.Contains(onlyPairs.out, "ARGUMENTS") {
		t.Errorf("sites under --pairs: %s", onlyPairs.out)
	}
	looked("list", "--pair", "phasetrace:enter/gone", path).want(t, statusFine, "1 pair, 0 traced", "no exit: no probe phasetrace:gone")
	p := fixture.Start(t, path)
	p.Expect("ready")
	pid := strconv.Itoa(p.Pid())
	looked("list", "-p", pid).want(t, statusFine, "Process "+pid, "phasetrace:exit", "file")

	// One file that cannot be read fails the command, and the other is listed.
	looked("list", path, "/dev/null").want(t, statusFailed, "phasetrace:enter", "/dev/null: not an ELF file")

	var doc inspect.Document
	if err := json.Unmarshal([]byte(looked("list", "--json", "-p", pid).out), &doc); err != nil {
		t.Fatal(err)
	}
	if doc.SchemaVersion != inspect.SchemaVersion || doc.Process == nil || len(doc.Pairs) != 1 || !doc.Pairs[0].Traced {
		t.Errorf("%+v", doc)
	}
}

// A process that is just being started has no file mapped: that is an error,
// not an empty list.
func TestListNothingMapped(t *testing.T) {
	var out bytes.Buffer
	err := (&listOptions{}).show(&inspect.Listing{Process: &inspect.Process{PID: 7}}, &streams{out: &out})
	if err == nil || !strings.Contains(err.Error(), "no file mapped") || out.Len() > 0 {
		t.Errorf("error %v, output %q", err, &out)
	}
}

// ourNop is the nop of phasetrace.h as list shows it.
func ourNop() string {
	if runtime.GOARCH == "arm64" {
		return probe.NopARM.String()
	}
	return probe.Nop1Then10.String()
}

// Debian's PostgreSQL, where it is installed: what a trace takes of it.
func TestListPostgreSQL(t *testing.T) {
	servers, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if len(servers) == 0 {
		if os.Getenv(fixture.PrebuiltEnv) != "" {
			t.Skip("a test kernel has no PostgreSQL")
		}
		testenv.Require(t, false, "PostgreSQL is not installed (package postgresql)")
	}
	r := looked("list", "--json", servers[0])
	r.want(t, statusFine)
	var doc inspect.Document
	if err := json.Unmarshal([]byte(r.out), &doc); err != nil {
		t.Fatal(err)
	}
	traced := make(map[string]bool)
	for _, p := range doc.Pairs {
		traced[p.Enter] = p.Traced
	}
	for enter, want := range map[string]bool{
		"query__start": true, "query__plan__start": true, "transaction__start": true, "checkpoint__start": true,
		"buffer__read__start": false, "lwlock__wait__start": false,
	} {
		if got, ok := traced[enter]; !ok || got != want {
			t.Errorf("%s: traced %v, present %v", enter, got, ok)
		}
	}
	for _, s := range doc.Files[0].Sites {
		if s.SemaphoreOffset == 0 {
			t.Errorf("%s at %#x has no semaphore", s.Probe, s.Offset)
		}
		for _, a := range s.Arguments {
			if a.Error != "" {
				t.Errorf("%s: %s: %s", s.Probe, a.Operand, a.Error)
			}
		}
	}
	looked("list", servers[0]).want(t, statusFine, "arg0 sql str 8@", "query enter")
	if runtime.GOARCH == "amd64" {
		looked("list", servers[0]).want(t, statusFine, "+CheckpointStats(%rip)")
	}
}
