// SPDX-License-Identifier: Apache-2.0

package c_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// note is one entry of .note.stapsdt, read without the reader under
// internal/usdt: the two check each other.
type note struct {
	location, base, semaphore uint64
	provider, name, args      string
}

func readNotes(t *testing.T, path string) (*elf.File, []note) {
	t.Helper()
	file, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	section := file.Section(".note.stapsdt")
	if section == nil {
		return file, nil
	}
	data, err := section.Data()
	if err != nil {
		t.Fatal(err)
	}
	var notes []note
	for len(data) > 0 {
		nameSize, descSize := binary.LittleEndian.Uint32(data), binary.LittleEndian.Uint32(data[4:])
		if kind := binary.LittleEndian.Uint32(data[8:]); kind != 3 || string(data[12:12+nameSize]) != "stapsdt\x00" {
			t.Fatalf("%s: note of kind %d", path, kind)
		}
		desc := data[12+nameSize:][:descSize]
		text := bytes.SplitN(desc[24:], []byte{0}, 4)
		notes = append(notes, note{
			location: binary.LittleEndian.Uint64(desc), base: binary.LittleEndian.Uint64(desc[8:]),
			semaphore: binary.LittleEndian.Uint64(desc[16:]),
			provider:  string(text[0]), name: string(text[1]), args: string(text[2]),
		})
		data = data[12+nameSize+(descSize+3)&^3:]
	}
	return file, notes
}

// at reads size bytes at a virtual address and says in what kind of segment.
func at(file *elf.File, address uint64, size int) ([]byte, elf.ProgFlag, error) {
	for _, p := range file.Progs {
		if p.Type == elf.PT_LOAD && address >= p.Vaddr && address+uint64(size) <= p.Vaddr+p.Filesz {
			data := make([]byte, size)
			_, err := p.ReadAt(data, int64(address-p.Vaddr))
			return data, p.Flags, err
		}
	}
	return nil, 0, fmt.Errorf("%#x is in no segment's file part", address)
}

var (
	nopsAMD64 = []byte{0x90, 0x66, 0x2e, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0}
	nopARM64  = []byte{0x1f, 0x20, 0x03, 0xd5}
	arguments = map[elf.Machine]map[string]*regexp.Regexp{
		elf.EM_X86_64: {
			"enter": regexp.MustCompile(`^8@%rdi 8@%rsi 8@%rdx -4@%ecx$`),
			"exit":  regexp.MustCompile(`^8@%rdi 8@%rsi$`),
		},
		elf.EM_AARCH64: {
			"enter": regexp.MustCompile(`^8@x\d+ 8@x\d+ 8@x\d+ -4@w\d+$`),
			"exit":  regexp.MustCompile(`^8@x\d+ 8@x\d+$`),
		},
	}
)

// checkNotes holds every note of a linked file against the marker ABI and
// returns how many sites each probe has.
func checkNotes(t *testing.T, path string) map[string]int {
	t.Helper()
	file, notes := readNotes(t, path)
	counts := map[string]int{}
	semaphores := map[string]uint64{}
	base := file.Section(".stapsdt.base")
	if base == nil {
		t.Fatal("no .stapsdt.base")
	}
	nops := nopsAMD64
	if file.Machine == elf.EM_AARCH64 {
		nops = nopARM64
	}
	var locations []uint64
	for _, n := range notes {
		if n.provider == "libstdcxx" || n.provider == "libc" || n.provider == "rtld" || n.provider == "libm" {
			continue // linked statically
		}
		if n.base != base.Addr {
			t.Errorf("%s: base %#x, section is at %#x", n.name, n.base, base.Addr)
		}
		if dropped(file, n) {
			continue
		}
		counts[n.name]++
		locations = append(locations, n.location)
		if n.provider != "phasetrace" || (n.name != "enter" && n.name != "exit") {
			t.Fatalf("note of %s:%s", n.provider, n.name)
		}
		if !arguments[file.Machine][n.name].MatchString(n.args) {
			t.Errorf("%s: arguments %q", n.name, n.args)
		}
		if code, flags, err := at(file, n.location, len(nops)); err != nil || !bytes.Equal(code, nops) {
			t.Errorf("%s: code at the location is % x (%v), want % x", n.name, code, err, nops)
		} else if flags&elf.PF_X == 0 {
			t.Errorf("%s: the location is not executable", n.name)
		}
		checkSemaphore(t, file, n, semaphores)
	}
	slices.Sort(locations)
	if n := len(locations); len(slices.Compact(locations)) != n {
		t.Error("two notes have one location")
	}
	if len(semaphores) == 2 && semaphores["enter"] == semaphores["exit"] {
		t.Error("the probes share a semaphore")
	}
	return counts
}

// dropped says whether a note is one that lld and mold keep of a function that
// --gc-sections has dropped: its location is then a place within that function
// and no address of any code. Readers pass over such notes.
func dropped(file *elf.File, n note) bool {
	for _, s := range file.Sections {
		if s.Flags&elf.SHF_EXECINSTR != 0 && n.location >= s.Addr {
			return false
		}
	}
	return true
}

func checkSemaphore(t *testing.T, file *elf.File, n note, seen map[string]uint64) {
	t.Helper()
	value, flags, err := at(file, n.semaphore, 2)
	switch {
	case err != nil:
		t.Errorf("%s: semaphore: %v", n.name, err)
	case !bytes.Equal(value, []byte{0, 0}):
		t.Errorf("%s: semaphore starts at % x", n.name, value)
	case flags&elf.PF_W == 0 || flags&elf.PF_X != 0:
		t.Errorf("%s: semaphore lies in a segment %v", n.name, flags)
	}
	if first, ok := seen[n.name]; ok && first != n.semaphore {
		t.Errorf("%s: semaphores %#x and %#x in one file", n.name, first, n.semaphore)
	}
	seen[n.name] = n.semaphore
}

func equalCounts(t *testing.T, got map[string]int, enter, exit int) {
	t.Helper()
	if got["enter"] != enter || got["exit"] != exit {
		t.Errorf("%d enter and %d exit sites, want %d and %d", got["enter"], got["exit"], enter, exit)
	}
}

// linkSets are flags that decide which sections and symbols survive.
var linkSets = []string{
	"-O0",
	"-O2",
	"-O2 -fPIC -fno-plt",
	"-O2 -fno-pie -no-pie",
	"-O2 -static",
	"-O2 -flto",
	"-O2 -flto -flto-partition=max",
	"-O2 -ffunction-sections -fdata-sections -Wl,--gc-sections",
	"-O2 -fvisibility=hidden -Wl,-s",
	"-O2 -fuse-ld=gold", // not with --gc-sections: docs/markers.md says why
	"-O2 -fuse-ld=lld",
	"-O2 -fuse-ld=lld -ffunction-sections -Wl,--gc-sections",
	"-O2 -fuse-ld=lld -ffunction-sections -Wl,--gc-sections -Wl,--no-rosegment",
	"-O2 -fuse-ld=mold",
	"-O2 -fuse-ld=mold -ffunction-sections -Wl,--gc-sections",
}

// eachLink runs check for every compiler and set.
func eachLink(t *testing.T, compilers []compiler, sources []string, check func(t *testing.T, set, path string)) {
	for _, c := range compilers {
		for _, set := range linkSets {
			if c.clang && strings.Contains(set, "-flto-partition") {
				continue // gcc's own
			}
			t.Run(c.String()+" "+set, func(t *testing.T) {
				flags := c.flags(set)
				c.needLinker(t, flags)
				args := append(append([]string{}, sources...), flags...)
				check(t, set, c.run(t, append(args, c.forArch(t, flags)...)...))
			})
		}
	}
}

func TestNotesSurviveLinking(t *testing.T) {
	t.Parallel()
	eachLink(t, cCompilers(t), []string{"unit_a.c", "unit_b.c"}, func(t *testing.T, set, path string) {
		counts := checkNotes(t, path)
		// lld and mold drop the function nobody calls, and no linker what is called.
		want := 3
		if strings.Contains(set, "gc-sections") && strings.Contains(set, "fuse-ld") || strings.Contains(set, "-flto") {
			want = 2
		}
		if counts["enter"] != want || counts["exit"] != want {
			t.Errorf("%s: %v sites, want %d of each", set, counts, want)
		}
	})
}

func TestNotesOfFoldedFunctionsAreFolded(t *testing.T) {
	t.Parallel()
	eachLink(t, cppCompilers(t), []string{"unit_a.cc", "unit_b.cc"}, func(t *testing.T, _, path string) {
		// An unfolded note would be a fifth enter, and have no place. Compilers
		// may repeat a guard's exit on the way of an exception.
		counts := checkNotes(t, path)
		if counts["enter"] != 4 || counts["exit"] < 4 || counts["exit"] > 8 {
			t.Errorf("%v sites, want 4 enter and 4 to 8 exit", counts)
		}
	})
}

func TestSharedLibraryHasSemaphoresOfItsOwn(t *testing.T) {
	t.Parallel()
	for _, c := range cCompilers(t) {
		path := c.run(t, "tokenlib.c", "-O2", "-shared", "-fPIC")
		equalCounts(t, checkNotes(t, path), 1, 0)
		file, err := elf.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		symbols, err := file.DynamicSymbols()
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range symbols {
			if s.Name == "phasetrace_enter_semaphore" || s.Name == "_.stapsdt.base" {
				t.Errorf("%s: the library exports %s", c, s.Name)
			}
		}
	}
}

func TestDisabledLeavesNothing(t *testing.T) {
	t.Parallel()
	for _, c := range cCompilers(t) {
		file, notes := readNotes(t, c.run(t, "everything.c", "-DPHASETRACE_DISABLE"))
		if len(notes) != 0 || file.Section(".probes") != nil {
			t.Errorf("%s: notes or semaphores in a program without markers", c)
		}
	}
}
