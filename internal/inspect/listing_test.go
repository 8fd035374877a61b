// SPDX-License-Identifier: Apache-2.0

package inspect

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/phasetrace/phasetrace/internal/probe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/output/human"
	"github.com/phasetrace/phasetrace/internal/process"
	"github.com/phasetrace/phasetrace/internal/usdt"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs; go test -update rewrites it:\n%s", path, diff)
	}
}

// sample is a listing with one of everything: chosen pairs and others, a
// dynamic name, strings by length, an argument that cannot be decoded, a
// semaphore without a place, names that attack a terminal, and files that are
// deleted, unreadable or empty.
func sample() *Listing {
	arch := probe.AMD64
	args := func(text string) []probe.Operand {
		as, _ := usdt.ParseArgs(arch, text, usdt.Symbols{})
		return as
	}
	server := &usdt.File{Arch: arch, PIE: true, BuildID: "0123456789abcdef0123456789abcdef01234567"}
	server.Sites = []usdt.Site{
		{Provider: "postgresql", Name: "query__start", Location: 0x401000, Offset: 0x1000, Semaphore: 0x604000, RefCtr: 0x4000, Args: args("8@%rbx"), Nop: probe.Nop1},
		{Provider: "postgresql", Name: "query__done", Location: 0x401010, Offset: 0x1010, Semaphore: 0x604002, RefCtr: 0x4002, Args: args("8@-144(%rbp)"), Nop: probe.Nop1},
		{Provider: "postgresql", Name: "sort__start", Location: 0x401020, Offset: 0x1020, Semaphore: 0x60ffff, Args: args("-4@$0 8f@%xmm0"), Nop: probe.Nop5},
		{Provider: "hotspot", Name: "method__entry", Location: 0x401030, Offset: 0x1030, Args: args("8@%rdi 8@%rsi 8@%rdx 8@%rcx 8@%r8 8@%r9 -4@%eax"), Nop: probe.NopNone},
		{Provider: "hotspot", Name: "method__return", Location: 0x401040, Offset: 0x1040, Nop: probe.Nop1Then10},
	}
	server.Problems = []usdt.Problem{{Probe: "postgresql:sort__start", Err: errors.New("its semaphore at 0x60ffff has no place in the file")}}
	hostile := &usdt.File{Arch: arch, Shared: true}
	hostile.Sites = []usdt.Site{
		{Provider: "evil\x1b[2J", Name: "a__start", Offset: 1, Args: args("8@%rax\x1b]0;x\a"), Nop: probe.Nop10},
		{Provider: "evil\x1b[2J", Name: "a__done", Offset: 2, Nop: probe.Nop10},
		{Provider: "evil", Name: "\u202egnp\u009b1m" + strings.Repeat("x", 100), Offset: 3, Nop: probe.Nop1},
	}
	l := &Listing{Process: &Process{PID: 4242, NSPIDs: []int{4242, 7}, Comm: "server\x07", Exe: "/usr/bin/server"}}
	l.add(File{Path: "/usr/bin/server", Main: true, Deleted: true, ELF: server})
	l.add(File{Path: "/lib/hostile\n.so", ELF: hostile})
	l.add(File{Path: "/lib/libc.so.6", ELF: &usdt.File{Arch: arch, Shared: true}})
	l.add(File{Path: "/lib/gone.so", Err: errors.New("permission denied")})
	l.Choices = usdt.Choose(l.Sites, nil)
	return l
}

func TestGoldens(t *testing.T) {
	l := sample()
	l.Advice = Advice{
		Ask: func(pair string) string { return "--pair '" + pair + "'" }, Join: "--pair PROVIDER:ENTER/EXIT", Rest: "--json has them",
	}
	for name, write := range map[string]func(*bytes.Buffer) error{
		"table.golden": func(b *bytes.Buffer) error { return WriteTable(b, l, false, false) },
		"pairs.golden": func(b *bytes.Buffer) error { return WriteTable(b, l, true, false) },
		"list.json":    func(b *bytes.Buffer) error { return WriteJSON(b, l, false) },
	} {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			t.Fatal(err)
		}
		golden(t, name, b.Bytes())
		checkSafe(t, b.String())
	}
}

// checkSafe: nothing that a terminal acts upon.
func checkSafe(t *testing.T, text string) {
	t.Helper()
	for _, r := range text {
		if r != '\n' && !human.Visible(r) {
			t.Errorf("unsafe character %U", r)
			return
		}
	}
}

func TestColourIsOnlyAdded(t *testing.T) {
	var plain, coloured bytes.Buffer
	l := sample()
	if err := errors.Join(WriteTable(&plain, l, false, false), WriteTable(&coloured, l, false, true)); err != nil {
		t.Fatal(err)
	}
	if plain.Len() == coloured.Len() {
		t.Error("no colour")
	}
	stripped := coloured.String()
	for _, c := range []human.Colour{human.Bold, human.Dim, human.Green, "\x1b[0m"} {
		stripped = strings.ReplaceAll(stripped, string(c), "")
	}
	if diff := cmp.Diff(plain.String(), stripped); diff != "" {
		t.Error(diff)
	}
}

// The JSON is one document of the documented type, and says the same as the
// listing.
func TestJSONIsTheDocument(t *testing.T) {
	l := sample()
	for _, pairsOnly := range []bool{false, true} {
		var b bytes.Buffer
		if err := WriteJSON(&b, l, pairsOnly); err != nil {
			t.Fatal(err)
		}
		d := json.NewDecoder(&b)
		d.DisallowUnknownFields()
		var doc Document
		if err := d.Decode(&doc); err != nil {
			t.Fatal(err)
		}
		if len(doc.Files) != len(l.Files) || len(doc.Pairs) != len(l.Choices) {
			t.Errorf("%d files, %d pairs", len(doc.Files), len(doc.Pairs))
		}
		sites := 0
		for _, f := range doc.Files {
			for _, s := range f.Sites {
				if pairsOnly || s.Probe != l.Sites[sites].Name && f.Path == "/usr/bin/server" {
					t.Errorf("site %+v", s)
				}
				for _, ref := range s.Pairs {
					if p := doc.Pairs[ref.Pair]; p.Traced && !s.Traced {
						t.Errorf("site %+v of a traced pair", s)
					}
				}
				sites++
			}
		}
		if !pairsOnly && sites != len(l.Sites) {
			t.Errorf("%d sites", sites)
		}
	}
}

// Real programs: what is listed is what the program has, for a file and for
// the process that runs it.
func TestProgramAndProcess(t *testing.T) {
	path := fixture.Build(t, "phases.c")
	byFile := Files([]string{path}, nil)
	if err := byFile.NoProbes(); err != nil {
		t.Fatal(err)
	}
	if byFile.Chosen() != 1 || byFile.Choices[0].Pair.Origin != usdt.OriginMarkers {
		t.Errorf("choices %+v", byFile.Choices)
	}
	proc, err := process.Open(fixture.Start(t, path).Pid())
	if err != nil {
		t.Fatal(err)
	}
	defer proc.Close()
	byProcess, err := OfProcess(proc, nil)
	if err != nil {
		t.Fatal(err)
	}
	var own []usdt.Site
	for i, s := range byProcess.Sites {
		if byProcess.Files[byProcess.Owner[i]].Main {
			own = append(own, s)
		}
	}
	if len(own) != len(byFile.Sites) || len(own) == 0 {
		t.Errorf("%d sites by process, %d by file", len(own), len(byFile.Sites))
	}
	for _, s := range own {
		if s.RefCtr == 0 {
			t.Errorf("site without semaphore: %+v", s)
		}
	}
}

func TestFilesThatAreNone(t *testing.T) {
	dir := t.TempDir()
	text, fifo := filepath.Join(dir, "text"), filepath.Join(dir, "fifo")
	if err := errors.Join(os.WriteFile(text, []byte("#!/bin/sh\n"), 0o644), unix.Mkfifo(fifo, 0o600)); err != nil {
		t.Fatal(err)
	}
	l := Files([]string{text, fifo, dir, "/dev/zero", filepath.Join(dir, "none")}, nil)
	if n := len(l.Failed()); n != 5 {
		t.Errorf("%d failed: %+v", n, l.Files)
	}
	for _, f := range l.Files[:4] {
		if !errors.Is(f.Err, usdt.ErrNotELF) {
			t.Errorf("%s: %v", f.Path, f.Err)
		}
	}
	if err := l.NoProbes(); !errors.Is(err, ErrNoProbes) {
		t.Error(err)
	}
}

// A pair given by the user is judged on what the files have.
func TestAskedPairs(t *testing.T) {
	path := fixture.Build(t, "phases.c")
	for spec, chosen := range map[string]bool{"phasetrace:enter/exit;name=arg1:str;key=arg0": true, "phasetrace:enter/none": false} {
		p, err := usdt.ParsePair(spec)
		if err != nil {
			t.Fatal(err)
		}
		l := Files([]string{path}, []usdt.PairSpec{p})
		if l.Choices[0].Chosen != chosen || (l.Chosen() == 1) != chosen {
			t.Errorf("%s: %+v", spec, l.Choices)
		}
	}
}
