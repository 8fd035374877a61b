// SPDX-License-Identifier: Apache-2.0

package usdt

import (
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/phasetrace/phasetrace/internal/probe"

	"github.com/google/go-cmp/cmp"
)

// need skips a test for want of something, or fails it where nothing may be
// missing.
func need(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("PHASETRACE_REQUIRE_BPF") == "1" {
		t.Fatalf("required here: "+format, args...)
	}
	t.Skipf(format, args...)
}

func readFile(t *testing.T, path string) *File {
	t.Helper()
	r, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	info, err := r.Stat()
	if err != nil {
		t.Fatal(err)
	}
	f, err := Read(r, info.Size())
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return f
}

// build compiles a fixture.
func build(t *testing.T, compiler, source string, flags ...string) string {
	t.Helper()
	if _, err := exec.LookPath(compiler); err != nil {
		need(t, "no %s: install it", compiler)
	}
	out := filepath.Join(t.TempDir(), "fixture")
	args := append([]string{"-o", out, filepath.Join("testdata", "src", source), "-nostdlib", "-Wl,--build-id=0x0123456789abcdef"}, flags...)
	if text, err := exec.Command(compiler, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", compiler, err, text)
	}
	return out
}

// labels returns, by debug/elf and not by the code under test, the file
// offset and the address of each global label of a fixture.
func labels(t *testing.T, path string) (offset, addr map[string]uint64) {
	t.Helper()
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	symbols, err := f.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	offset, addr = map[string]uint64{}, map[string]uint64{}
	for _, s := range symbols {
		for _, p := range f.Progs {
			if p.Type == elf.PT_LOAD && p.Vaddr <= s.Value && s.Value < p.Vaddr+p.Filesz {
				offset[s.Name], addr[s.Name] = s.Value-p.Vaddr+p.Off, s.Value
			}
		}
	}
	return offset, addr
}

var linkings = map[string][]string{
	"pie":        {"-pie"},
	"non-pie":    {"-no-pie", "-Wl,--dynamic-linker=/lib/loader", "-Wl,-E"},
	"static":     {"-static"},
	"static-pie": {"-static-pie"},
	"shared":     {"-shared", "-Wl,-soname,libfixture.so.1", "-Wl,-rpath,$ORIGIN/lib:/opt/lib"},
}

func TestFixtureAMD64(t *testing.T) {
	wantArgs := []string{
		"8@%rax -4@-20(%rbp)", "8@0(%rdi,%rsi,8) -4@$-7", "", "8@%rdi",
		"1@%al 1@%ah 2@%ax 4@%eax 8@%rax -1@%r8b -2@%r8w -4@%r8d -8@%r8 1@$1 -2@$-2 4@8(%rsp)",
		"1@$0 1@$1 1@$2 1@$3 1@$4 1@$5 1@$6 1@$7 1@$8 1@$9 1@$10 1@$11",
		"8@s%exported%(%rip) 8@s%exported+8%(%rip) 8@s%exported+16%(%rip) 8@s%local%(%rip)",
		"bad 8@%rax bad 8@%rbx", "", "", "", "",
	}
	wantNops := []probe.Nop{probe.Nop1, probe.Nop1, probe.Nop1, probe.Nop1, probe.Nop1, probe.Nop1, probe.Nop1, probe.Nop1, probe.Nop1Then10, probe.Nop10, probe.Nop5, probe.NopNone}
	for name, flags := range linkings {
		t.Run(name, func(t *testing.T) {
			path := build(t, "gcc", "amd64.S", append(flags, "-m64")...)
			offset, addr := labels(t, path)
			f := readFile(t, path)
			checkFixture(t, f, probe.AMD64, name, offset)
			for i, s := range f.Sites {
				want := wantArgs[i]
				for _, at := range []string{"exported+16", "exported+8", "exported", "local"} {
					base, plus, _ := strings.Cut(at, "+")
					n := addr[base]
					if plus != "" {
						n += map[string]uint64{"8": 8, "16": 16}[plus]
					}
					want = strings.ReplaceAll(want, "%"+at+"%", fmt.Sprintf("%x", n))
				}
				if got := formatArgs(f.Arch, s.Args); got != want || s.Nop != wantNops[i] {
					t.Errorf("%s: %q, %v; want %q, %v", s.Name, got, s.Nop, want, wantNops[i])
				}
			}
			checkStripped(t, path, f)
		})
	}
}

func TestFixtureARM64(t *testing.T) {
	wantArgs := []string{
		"8@x0 -4@[x29, #-20]", "8@[x1, x2, lsl #3] -4@#-7", "", "8@x0",
		"8@x0 -8@x30 4@w1 -4@w2 8@sp 8@#0 -4@#0 8@[sp, #0] 8@[sp, #60] 8@[x0, x1, lsl #0] 4@#5 -4@#-5",
		"1@#0 1@#1 1@#2 1@#3 1@#4 1@#5 1@#6 1@#7 1@#8 1@#9 1@#10 1@#11",
		"bad 8@x0 bad 8@[x0, #8]", "",
	}
	for name, flags := range linkings {
		t.Run(name, func(t *testing.T) {
			path := build(t, "aarch64-linux-gnu-gcc", "arm64.S", flags...)
			offset, _ := labels(t, path)
			f := readFile(t, path)
			checkFixture(t, f, probe.ARM64, name, offset)
			for i, s := range f.Sites {
				nop := probe.NopARM
				if s.Name == "other" {
					nop = probe.NopNone
				}
				if got := formatArgs(f.Arch, s.Args); got != wantArgs[i] || s.Nop != nop {
					t.Errorf("%s: %q, %v; want %q, %v", s.Name, got, s.Nop, wantArgs[i], nop)
				}
			}
		})
	}
}

// TestFixtureDynamic: a program that needs a loader and a library.
func TestFixtureDynamic(t *testing.T) {
	f := readFile(t, build(t, "gcc", "amd64.S", "-m64", "-pie", "-Wl,--no-as-needed", "-lc"))
	if f.Static || !f.PIE || f.Shared || f.Interp == "" || len(f.Needed) != 1 || !strings.HasPrefix(f.Needed[0], "libc.so") {
		t.Errorf("linkage: %+v", f)
	}
}

func formatArgs(arch probe.Arch, args []probe.Operand) string {
	var texts []string
	for _, a := range args {
		if a.Err != nil {
			texts = append(texts, "bad")
		} else {
			texts = append(texts, formatArg(arch, a))
		}
	}
	return strings.Join(texts, " ")
}

// checkFixture checks what both fixtures have in common.
func checkFixture(t *testing.T, f *File, arch probe.Arch, linking string, offset map[string]uint64) {
	t.Helper()
	type facts struct {
		Arch                probe.Arch
		BuildID, Soname     string
		Static, PIE, Shared bool
		RunPath             []string
	}
	got := facts{f.Arch, f.BuildID, f.Soname, f.Static, f.PIE, f.Shared, append(f.RunPath, f.RPath...)}
	want := facts{Arch: arch, BuildID: "0123456789abcdef", Shared: linking == "shared",
		PIE: strings.HasSuffix(linking, "pie") && linking != "non-pie", Static: strings.HasPrefix(linking, "static") || linking == "non-pie"}
	if linking == "shared" {
		want.Soname, want.RunPath = "libfixture.so.1", []string{"$ORIGIN/lib", "/opt/lib"}
	}
	if linking == "non-pie" && f.Interp != "" {
		want.Static = false // linkers differ in whether they make a dynamic program of it
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for i, s := range f.Sites {
		label, semaphore := fmt.Sprintf("site%d", i), uint64(0)
		if i < 2 {
			semaphore = offset[fmt.Sprintf("semaphore%d", i)]
		}
		if s.Offset != offset[label] || s.Offset == 0 || s.RefCtr != semaphore || i < 2 && semaphore == 0 {
			t.Errorf("%s: offset %#x, semaphore %#x; want %#x, %#x", s.Name, s.Offset, s.RefCtr, offset[label], semaphore)
		}
	}
	if len(f.Problems) != 1 || !strings.HasPrefix(f.Problems[0].Error(), "fixture:thirteen: more than 12") {
		t.Errorf("problems: %v", f.Problems)
	}
}

// checkStripped: stripping loses the operands whose symbols are gone, and
// nothing else.
func checkStripped(t *testing.T, path string, whole *File) {
	t.Helper()
	if _, err := exec.LookPath("strip"); err != nil {
		need(t, "no strip: install binutils")
	}
	if text, err := exec.Command("strip", path).CombinedOutput(); err != nil {
		t.Fatalf("strip: %v\n%s", err, text)
	}
	f := readFile(t, path)
	if len(f.Sites) != len(whole.Sites) {
		t.Fatalf("%d sites, %d before", len(f.Sites), len(whole.Sites))
	}
	dynamic := exported(t, path)
	for i, s := range f.Sites {
		w := whole.Sites[i]
		if s.Offset != w.Offset || s.RefCtr != w.RefCtr || len(s.Args) != len(w.Args) {
			t.Errorf("%+v, before %+v", s, w)
		}
		for j, a := range s.Args {
			gone := strings.Contains(a.Text, "local(") || strings.Contains(a.Text, "exported") && !dynamic
			if gone != (a.Kind == probe.OperandUnsupported && w.Args[j].Err == nil) && w.Args[j].Err == nil {
				t.Errorf("%s: %+v, before %+v", s.Name, a, w.Args[j])
			}
		}
	}
}

// exported says whether the fixture has its variable in the dynamic symbols.
func exported(t *testing.T, path string) bool {
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	symbols, _ := f.DynamicSymbols()
	for _, s := range symbols {
		if s.Name == "exported" {
			return true
		}
	}
	return false
}
