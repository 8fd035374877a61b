// SPDX-License-Identifier: Apache-2.0

package process

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/phasetrace/phasetrace/internal/usdt"
)

// The dynamic linker of a process is known whatever its file is called, and
// also when that is gone; and that there is none.
func TestLinker(t *testing.T) {
	plain := fixture(t, "fixture")
	interp := realELF(t, plain).Interp
	resolved, err := filepath.EvalSymlinks(interp)
	if err != nil {
		t.Fatal(err)
	}
	private := filepath.Join(t.TempDir(), "libprivate.so.2")
	copyFile(t, resolved, private)
	renamed := withInterp(t, private)
	for _, c := range []struct {
		name   string
		args   []string
		want   string // "" for none
		direct bool
		then   func() error
	}{
		{name: "the system's", args: []string{plain}, want: resolved},
		{name: "run directly", args: []string{interp, plain}, want: resolved, direct: true},
		{name: "under another name", args: []string{renamed}, want: private},
		{name: "under another name, run directly", args: []string{private, plain}, want: private, direct: true},
		{name: "deleted", args: []string{renamed}, want: private, then: func() error { return os.Remove(private) }},
		{name: "statically linked", args: []string{fixture(t, "fixture.static")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := attach(t, run(t, exec.Command(c.args[0], c.args[1:]...)).pid)
			if c.then != nil {
				if err := c.then(); err != nil {
					t.Fatal(err)
				}
			}
			all, err := p.Modules()
			if err != nil {
				t.Fatal(err)
			}
			l, err := p.Linker(all, readELF)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if l.Module != nil {
				got = l.Module.Path
			}
			if got != c.want || l.Direct != c.direct || l.Module != nil && l.Module.Main != c.direct {
				t.Errorf("linker %q, direct %v; want %q, %v", got, l.Direct, c.want, c.direct)
			}
			if c.want == "" || c.then != nil || c.direct {
				return
			}
			// The way for linkers that the kernel says nothing of finds the same.
			named, err := p.moduleNamed(all, realELF(t, c.args[0]).Interp)
			if err != nil || named != l.Module {
				t.Errorf("by name: %+v, %v", named, err)
			}
		})
	}
	held, release := startHeld(t, Command{Args: []string{plain}})
	p := attach(t, held.PID)
	all, err := p.Modules()
	if err != nil {
		t.Fatal(err)
	}
	if l, err := p.Linker(all, readELF); err != nil || l.Module == nil || l.Module.Path != resolved {
		t.Errorf("before the first instruction: %+v, %v", l, err)
	}
	if m, err := p.moduleNamed(all, "/etc/passwd"); err == nil {
		t.Errorf("a file that is not mapped: %+v", m)
	}
	release()
}

// withInterp builds the fixture for another dynamic linker.
func withInterp(t *testing.T, interp string) string {
	t.Helper()
	if os.Getenv(prebuiltVar) != "" {
		t.Skip("short: needs a compiler, and the kernel has no part in names")
	}
	dir := t.TempDir()
	s := source{out: "fixture.interp", from: "fixture.c", flags: []string{"-Wl,--dynamic-linker=" + interp}}
	if err := s.build(dir); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, s.out)
	if got := realELF(t, path).Interp; got != interp {
		t.Fatalf("interpreter %q, want %q", got, interp)
	}
	return path
}

// The linker tells debuggers of a function of its own, once it has loaded the
// program.
func TestDebuggerHook(t *testing.T) {
	for _, name := range []string{"fixture", "fixture.nopie"} {
		path := fixture(t, name)
		held, release := startHeld(t, Command{Args: []string{path}})
		p := attach(t, held.PID)
		all, _ := modules(t, p)
		if h, err := p.DebuggerHook(t.Context(), all); err == nil {
			t.Errorf("%s: told of before the linker ran: %+v", name, h)
		}
		release()
		all, _ = modules(t, p)
		h, err := p.DebuggerHook(t.Context(), all)
		if err != nil {
			t.Fatal(err)
		}
		m, offset := h.Module, h.Offset
		f, err := m.Open()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		st, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		want, err := usdt.FindFunctions(f, st.Size(), "_dl_debug_state", "_r_debug")
		if l, err := p.Linker(all, readELF); err != nil || l.Module != m {
			t.Errorf("%s: hook in %+v, linker %+v, %v", name, m, l, err)
		}
		if err != nil || offset == 0 || offset != want.Named["_dl_debug_state"] {
			t.Errorf("%s: hook at offset %#x of %s, %v; want %#x", name, offset, m.Path, err, want.Named)
		}
		if list := int64(want.Addresses["_r_debug"] - want.Addresses["_dl_debug_state"]); h.List != list || list == 0 {
			t.Errorf("%s: the list is %#x behind the hook, want %#x", name, h.List, list)
		}
	}
	static := attach(t, run(t, exec.Command(fixture(t, "fixture.static"))).pid)
	all, _ := modules(t, static)
	if h, err := static.DebuggerHook(t.Context(), all); err == nil {
		t.Errorf("a static program: %+v", h)
	}
}

func TestAuxv(t *testing.T) {
	// Two entries, the end, and one after it.
	data := strings.Repeat("\x07\x00\x00\x00\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00\x00\x00", 2) + strings.Repeat("\x00", 16) + strings.Repeat("\x17", 16)
	if aux := parseAuxv([]byte(data + "\x01")); len(aux) != 1 || aux[auxBase] != 0x201 {
		t.Errorf("%v", aux)
	}
	aux, err := attach(t, os.Getpid()).auxv()
	if err != nil || aux[auxPhdr] == 0 || aux[auxPhnum] == 0 {
		t.Errorf("%v, %v", aux, err)
	}
}
