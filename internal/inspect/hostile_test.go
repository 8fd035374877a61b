// SPDX-License-Identifier: Apache-2.0

package inspect

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What listing one file may take, whatever its bytes.
const (
	maxSeconds = 1.0
	maxKiB     = 100 << 10
)

// childEnv makes the test binary list a file, write it both ways, and tell
// what that took.
const childEnv = "PHASETRACE_TEST_LIST"

func TestMain(m *testing.M) {
	if path := os.Getenv(childEnv); path != "" {
		if err := listOnce(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func listOnce(path string) error {
	defer BoundMemory()()
	start := time.Now()
	form, path, _ := strings.Cut(path, ":")
	l := Files([]string{path}, nil)
	var err error
	switch form {
	case "table":
		err = WriteTable(io.Discard, l, false, false)
	case "json":
		err = WriteJSON(io.Discard, l, false)
	}
	var u unix.Rusage
	if err := errors.Join(err, unix.Getrusage(unix.RUSAGE_SELF, &u)); err != nil {
		return err
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	cpu := float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
	fmt.Println(len(l.Sites), min(cpu, time.Since(start).Seconds()), strings.Fields(rest)[0])
	return nil
}

// measured lists a file in a process of its own and returns its sites, its
// time in seconds and its peak memory in KiB. Of CPU time and elapsed time the
// smaller one counts: other programs add to the one, and collectors of garbage
// on processors that are idle add to the other.
func measured(t *testing.T, form, path string) (sites int, seconds float64, kib int) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childEnv+"="+form+":"+path)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	if _, err := fmt.Sscan(string(out), &sites, &seconds, &kib); err != nil {
		t.Fatalf("%q: %v", out, err)
	}
	return sites, seconds, kib
}

// TestHostileFiles: the committed corpora of the ELF reader, listed both ways:
// no panic and nothing that a terminal acts upon.
func TestHostileFiles(t *testing.T) {
	dir, n := t.TempDir(), 0
	for _, kind := range []string{"FuzzRead", "FuzzNotes"} {
		entries, err := filepath.Glob(filepath.Join("..", "usdt", "testdata", "fuzz", kind, "*"))
		if err != nil || len(entries) == 0 {
			t.Fatalf("no corpus %s: %v", kind, err)
		}
		for _, entry := range entries {
			machine, b := corpusEntry(t, entry)
			if kind == "FuzzNotes" {
				b = elfWithNotes(machine, b)
			}
			path := filepath.Join(dir, fmt.Sprintf("%d\x1b[31m\u202e", n))
			n++
			if err := os.WriteFile(path, b, 0o644); err != nil {
				t.Fatal(err)
			}
			l := Files([]string{path}, nil)
			var out bytes.Buffer
			if err := errors.Join(WriteTable(&out, l, false, false), WriteJSON(&out, l, false)); err != nil {
				t.Fatal(err)
			}
			checkSafe(t, out.String())
		}
	}
}

// corpusEntry reads a file as go test -fuzz writes it: at most one uint16 and
// one []byte.
func corpusEntry(t *testing.T, path string) (machine uint16, b []byte) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if s, ok := strings.CutPrefix(line, "[]byte("); ok {
			s, err := strconv.Unquote(strings.TrimSuffix(s, ")"))
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			b = []byte(s)
		}
		if s, ok := strings.CutPrefix(line, "uint16("); ok {
			n, err := strconv.ParseUint(strings.TrimSuffix(s, ")"), 0, 16)
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			machine = uint16(n)
		}
	}
	return machine, b
}

// TestBounds: files made to be as expensive as the reader lets them be.
func TestBounds(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector takes its own time and memory")
	}
	long := strings.Repeat("\x1b[2J\xff\u202e", 12)
	twelve := strings.TrimSpace(strings.Repeat("8f@%xmm0 ", 12))
	for name, note := range map[string]func(i int) []byte{
		"many pairs":     func(i int) []byte { return probeNote("p", fmt.Sprintf("%d__%s", i/2, ends[i%2]), twelve) },
		"one pair":       func(i int) []byte { return probeNote("p", "x__"+ends[i%2], twelve) },
		"long names":     func(i int) []byte { return probeNote(long, fmt.Sprint(i, long), "8@%rax") },
		"known probes":   func(i int) []byte { return probeNote("postgresql", "query__"+ends[i%2], twelve) },
		"symbol lookups": func(i int) []byte { return probeNote("p", fmt.Sprint(i), "-4@nothing+8(%rip) 8@x(%rip)") },
	} {
		t.Run(name, func(t *testing.T) {
			var notes []byte
			for i := 0; len(notes) < 7<<20 && i < 1<<15; i++ {
				notes = append(notes, note(i)...)
			}
			path := filepath.Join(t.TempDir(), "crafted")
			if err := os.WriteFile(path, elfWithNotes(uint16(elf.EM_X86_64), notes), 0o644); err != nil {
				t.Fatal(err)
			}
			for _, form := range []string{"none", "table", "json"} {
				sites, seconds, kib := measured(t, form, path)
				for range 2 { // what other programs add is not the file's doing
					if seconds > maxSeconds || kib > maxKiB {
						sites, seconds, kib = measured(t, form, path)
					}
				}
				t.Logf("%s: %d sites, %.3f s, %d MiB", form, sites, seconds, kib>>10)
				if sites < 10000 {
					t.Errorf("only %d sites: the file is not what it should be", sites)
				}
				if seconds > maxSeconds || kib > maxKiB {
					t.Errorf("%s: took %.3f s and %d MiB", form, seconds, kib>>10)
				}
			}
		})
	}
}

var ends = []string{"start", "done"}

// probeNote is a note of a probe at an address that elfWithNotes maps.
func probeNote(provider, name, args string) []byte {
	desc := binary.LittleEndian.AppendUint64(nil, 0x400000)
	desc = append(desc, make([]byte, 16)...)
	desc = append(desc, provider+"\x00"+name+"\x00"+args+"\x00"...)
	n := binary.LittleEndian.AppendUint32(nil, 8)
	n = binary.LittleEndian.AppendUint32(n, uint32(len(desc)))
	n = binary.LittleEndian.AppendUint32(n, 3)
	n = append(n, "stapsdt\x00"...)
	n = append(n, desc...)
	return append(n, make([]byte, -len(n)&3)...)
}

// elfWithNotes is the smallest program with a .note.stapsdt section.
func elfWithNotes(machine uint16, notes []byte) []byte {
	const names = "\x00.note.stapsdt\x00.shstrtab\x00"
	const headers = 64 + 56
	ident := [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)}
	sections := (headers + len(notes) + len(names) + 7) &^ 7
	var b bytes.Buffer
	put := func(v any) { _ = binary.Write(&b, binary.LittleEndian, v) }
	put(elf.Header64{
		Ident: ident, Type: uint16(elf.ET_EXEC), Machine: machine, Version: uint32(elf.EV_CURRENT),
		Phoff: 64, Shoff: uint64(sections), Ehsize: 64, Phentsize: 56, Phnum: 1, Shentsize: 64, Shnum: 3, Shstrndx: 2,
	})
	put(elf.Prog64{
		Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X), Vaddr: 0x400000,
		Filesz: uint64(sections), Memsz: uint64(sections), Align: 0x1000,
	})
	b.Write(notes)
	b.WriteString(names)
	b.Write(make([]byte, sections-b.Len()))
	put(elf.Section64{})
	put(elf.Section64{Name: 1, Type: uint32(elf.SHT_NOTE), Off: headers, Size: uint64(len(notes)), Addralign: 4})
	put(elf.Section64{Name: 15, Type: uint32(elf.SHT_STRTAB), Off: uint64(headers + len(notes)), Size: uint64(len(names)), Addralign: 1})
	return b.Bytes()
}
