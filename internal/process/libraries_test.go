// SPDX-License-Identifier: Apache-2.0

package process

import (
	"cmp"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	diffs "github.com/google/go-cmp/cmp"

	"github.com/phasetrace/phasetrace/internal/probe"
	"github.com/phasetrace/phasetrace/internal/usdt"
)

// tree writes files for a temporary root; a value that begins with "->" is a
// link. It returns the root.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if to, ok := strings.CutPrefix(text, "->"); ok {
			err = os.Symlink(to, path)
		} else {
			err = os.WriteFile(path, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// readText reads a made-up library: a line for each property.
func readText(f *os.File) (Dynamic, error) {
	d := Dynamic{Class: uint16(elf.ELFCLASS64), Machine: uint16(elf.EM_X86_64)}
	data, err := io.ReadAll(f)
	if err != nil {
		return d, err
	}
	for _, line := range strings.Fields(string(data)) {
		key, value, _ := strings.Cut(line, "=")
		switch key {
		case "bad":
			return d, errors.New("bad file")
		case "shared":
			d.Shared = true
		case "machine":
			d.Machine = uint16(elf.EM_AARCH64)
		case "interp":
			d.Interp = value
		case "soname":
			d.Soname = value
		case "need":
			d.Needed = append(d.Needed, value)
		case "rpath":
			d.RPath = append(d.RPath, value)
		case "runpath":
			d.RunPath = append(d.RunPath, value)
		}
	}
	return d, nil
}

func TestResolveLibraries(t *testing.T) {
	const interp = "interp=/lib64/ld.so"
	for _, c := range []struct {
		name   string
		files  map[string]string
		search Search
		dir    string   // working directory
		exe    string   // "" is /bin/x
		want   []string // "NAME PATH", in order; "NAME -" when not found
	}{
		{name: "breadth first, each once",
			files: map[string]string{"bin/x": "need=a need=b", "lib/a": "need=c", "lib/b": "need=c need=a", "usr/lib/c": "need=b"},
			want:  []string{"a /lib/a", "b /lib/b", "c /usr/lib/c"}},
		{name: "interpreter first, and needed by its soname",
			files: map[string]string{"bin/x": interp + " need=c", "lib64/ld.so": "->ld-2.so", "lib64/ld-2.so": "soname=ld-linux.so", "lib/c": "need=ld-linux.so"},
			want:  []string{"/lib64/ld.so /lib64/ld-2.so", "c /lib/c"}},
		{name: "not found, and found after",
			files: map[string]string{"bin/x": "need=none need=b", "lib/b": ""},
			want:  []string{"none -", "b /lib/b"}},
		{name: "LD_LIBRARY_PATH before the system's, after RPATH",
			files:  map[string]string{"bin/x": "need=a need=b rpath=/r", "r/a": "", "l/a": "", "l/b": "", "lib/b": ""},
			search: Search{LibraryPath: "/none:/l"},
			want:   []string{"a /r/a", "b /l/b"}},
		{name: "LD_LIBRARY_PATH before RUNPATH",
			files:  map[string]string{"bin/x": "need=a runpath=/r", "r/a": "", "l/a": ""},
			search: Search{LibraryPath: "/l"},
			want:   []string{"a /l/a"}},
		{name: "RPATH is inherited",
			files: map[string]string{"bin/x": "need=a rpath=/r", "r/a": "need=b", "r/b": ""},
			want:  []string{"a /r/a", "b /r/b"}},
		{name: "RUNPATH is not inherited",
			files: map[string]string{"bin/x": "need=a runpath=/r", "r/a": "need=b", "r/b": ""},
			want:  []string{"a /r/a", "b -"}},
		{name: "RUNPATH switches RPATH off",
			files: map[string]string{"bin/x": "need=a rpath=/r runpath=/n", "r/a": "", "lib/a": ""},
			want:  []string{"a /lib/a"}},
		{name: "ORIGIN is the resolved directory",
			files: map[string]string{"bin/x": "->../opt/app/bin/x", "opt/app/bin/x": "need=a runpath=$ORIGIN/../lib runpath=${ORIGIN}/p", "opt/app/lib/a": ""},
			want:  []string{"a /opt/app/lib/a"}},
		{name: "LIB and PLATFORM",
			files: map[string]string{"bin/x": "need=a need=b runpath=/p/$LIB runpath=/q/$PLATFORM", "p/lib64/a": "", "q/x86_64/b": ""},
			want:  []string{"a /p/lib64/a", "b /q/x86_64/b"}},
		{name: "ld.so.conf with includes",
			files: map[string]string{"bin/x": "need=a need=b need=c",
				"etc/ld.so.conf":     "# comment\ninclude ld.so.conf.d/*.conf\n/third # comment\ninclude\nrelative\n",
				"etc/ld.so.conf.d/1": "/wrong", "etc/ld.so.conf.d/b.conf": "/second\n", "etc/ld.so.conf.d/a.conf": "/first\ninclude /etc/ld.so.conf\n",
				"first/a": "", "second/a": "", "second/b": "", "third/b": "", "third/c": "", "lib/c": "", "wrong/a": ""},
			want: []string{"a /first/a", "b /second/b", "c /third/c"}},
		{name: "multiarch and defaults",
			files: map[string]string{"bin/x": "need=a need=b need=c", "lib/x86_64-linux-gnu/a": "", "lib/a": "", "lib64/b": "", "usr/lib/c": ""},
			want:  []string{"a /lib/x86_64-linux-gnu/a", "b /lib64/b", "c /usr/lib/c"}},
		{name: "another machine's and a broken file are passed over",
			files: map[string]string{"bin/x": "need=a need=b need=c runpath=/r", "r/a": "machine=arm64", "lib/a": "", "r/b": "bad", "lib/b": "", "r/c": "bad"},
			want:  []string{"a /lib/a", "b /lib/b", "c -"}},
		{name: "levels of processors",
			files:  map[string]string{"bin/x": "need=a need=b", "lib/v3/a": "", "lib/v2/a": "", "lib/a": "", "lib/v2/b": ""},
			search: Search{LevelDirs: []string{"v3", "v2"}},
			want:   []string{"a /lib/v3/a", "b /lib/v2/b"}},
		{name: "absolute links stay inside the root",
			files: map[string]string{"bin/x": "need=a need=b", "lib/a": "->/elsewhere/a.1", "elsewhere/a.1": "", "lib/b": "->../../../../elsewhere/a.1"},
			want:  []string{"a /elsewhere/a.1"}},
		{name: "a link in a circle",
			files: map[string]string{"bin/x": "need=a", "lib/a": "->/lib/a"},
			want:  []string{"a -"}},
		{name: "a path as the name",
			files: map[string]string{"bin/x": "need=/p/a need=$ORIGIN/b", "p/a": "", "bin/b": ""},
			want:  []string{"/p/a /p/a", "$ORIGIN/b /bin/b"}},
		{name: "LD_PRELOAD first",
			files:  map[string]string{"bin/x": "need=a", "lib/a": "", "p/pre": "need=a"},
			search: Search{Preload: []string{"/p/pre"}},
			want:   []string{"/p/pre /p/pre", "a /lib/a"}},
		{name: "relative directories of an unknown working directory are not looked in",
			files: map[string]string{"bin/x": "need=a runpath=r runpath=", "r/a": "", "a": ""},
			want:  []string{"a -"}},
		{name: "relative names and directories", dir: "w/d",
			files:  map[string]string{"bin/x": "need=a need=b need=s/c need=d runpath=r", "w/d/l/a": "", "w/d/r/b": "", "w/d/s/c": "", "w/d/p": "", "w/e/d": ""},
			search: Search{LibraryPath: "l:../e", Preload: []string{"./p"}},
			want:   []string{"./p /w/d/p", "a /w/d/l/a", "b /w/d/r/b", "s/c /w/d/s/c", "d /w/e/d"}},
		{name: "empty elements are the working directory", dir: "w",
			files:  map[string]string{"bin/x": "need=a need=b", "w/a": "", "w/b": "", "l/a": "", "lib/b": ""},
			search: Search{LibraryPath: "/l:"},
			want:   []string{"a /l/a", "b /w/b"}},
		{name: "empty elements of RPATH and RUNPATH too, but not to musl", dir: "w",
			files: map[string]string{"bin/x": "need=a rpath=/r rpath=", "r/b": "", "w/a": "need=b runpath="},
			want:  []string{"a /w/a", "b -"}},
		{name: "an empty LD_LIBRARY_PATH is none", dir: "w",
			files: map[string]string{"bin/x": "need=a", "w/a": "", "lib/a": ""},
			want:  []string{"a /lib/a"}},
		{name: "the parent of a directory is that of where a link leads", dir: "w",
			files:  map[string]string{"bin/x": "need=a", "w/l": "->/o/p", "o/p/f": "", "o/q/a": "", "w/q/a": ""},
			search: Search{LibraryPath: "l/../q"},
			want:   []string{"a /o/q/a"}},
		{name: "a working directory inside links", dir: "w",
			files:  map[string]string{"bin/x": "need=a", "w": "->o", "o/l/a": ""},
			search: Search{LibraryPath: "l"},
			want:   []string{"a /o/l/a"}},
		{name: "foreign rights: neither LD_LIBRARY_PATH nor preloaded paths", dir: "w",
			files:  map[string]string{"bin/x": "need=a runpath=$ORIGIN/../r", "l/a": "", "r/a": "", "lib/a": "", "p/pre": "", "lib/pre": "", "w/a": ""},
			search: Search{Secure: true, LibraryPath: "/l:", Preload: []string{"/p/pre", "pre"}},
			want:   []string{"pre -", "a /lib/a"}},
		{name: "ld.so.preload",
			files:  map[string]string{"bin/x": "need=a", "etc/ld.so.preload": "# comment\n/p/one two\n", "p/one": "", "lib/two": "", "lib/a": "", "p/env": ""},
			search: Search{Preload: []string{"/p/env"}},
			want:   []string{"/p/env /p/env", "/p/one /p/one", "two /lib/two", "a /lib/a"}},
		{name: "includes of ld.so.conf stay inside the root",
			files: map[string]string{"bin/x": "need=a", "etc/ld.so.conf": "include /etc/c*/*.conf\n", "etc/conf": "->/elsewhere", "elsewhere/x.conf": "/second\n", "second/a": ""},
			want:  []string{"a /second/a"}},
		{name: "the linker is run with the program as its argument", dir: "w", exe: "/lib64/ld.so",
			files:  map[string]string{"lib64/ld.so": "shared soname=ld-linux.so", "w/x": "interp=/lib64/other need=a need=b need=ld-linux.so", "w/l/a": "", "e/a": "", "e/b": "", "lib/b": "", "p": ""},
			search: Search{LibraryPath: "/e", Args: []string{"ld.so", "--inhibit-cache", "--argv0", "--y", "--library-path", "l", "--preload=/p", "./x", "--preload", "y"}},
			want:   []string{"/lib64/ld.so /lib64/ld.so", "./x /w/x", "/p /p", "a /w/l/a", "b /lib/b"}},
		{name: "the linker is run with a program that is in the search path", exe: "/lib64/ld.so",
			files:  map[string]string{"lib64/ld.so": "shared soname=ld-linux.so", "l/x": "need=a", "l/a": ""},
			search: Search{LibraryPath: "/l", Args: []string{"ld.so", "x"}},
			want:   []string{"/lib64/ld.so /lib64/ld.so", "x /l/x", "a /l/a"}},
		{name: "the linker is run alone", exe: "/lib64/ld.so",
			files:  map[string]string{"lib64/ld.so": "shared soname=ld-linux.so"},
			search: Search{Args: []string{"ld.so", "--list-tunables"}},
			want:   []string{"/lib64/ld.so /lib64/ld.so"}},
		{name: "musl under another name, with its own folder", dir: "w",
			files: map[string]string{"bin/x": "interp=/opt/app/lib/linker runpath= need=libc.so need=a need=libm.so.6 need=libmine.so", "opt/app/lib/linker": "",
				"opt/app/etc/ld-musl-x86_64.path": "/m", "m/libc.so": "", "m/a": "", "m/libmine.so": "", "lib/a": "", "w/a": ""},
			search: Search{LibraryPath: ":/none:"},
			want:   []string{"/opt/app/lib/linker /opt/app/lib/linker", "a /m/a", "libmine.so /m/libmine.so"}},
		{name: "musl",
			files: map[string]string{"bin/x": "interp=/lib/ld-musl-x86_64.so.1 need=a need=b runpath=/r", "lib/ld-musl-x86_64.so.1": "",
				"etc/ld-musl-x86_64.path": "/m\n/n:/o\n", "r/a": "need=c", "r/c": "", "o/b": "", "lib/b": ""},
			want: []string{"/lib/ld-musl-x86_64.so.1 /lib/ld-musl-x86_64.so.1", "a /r/a", "b /o/b", "c /r/c"}},
		{name: "static", files: map[string]string{"bin/x": ""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := c.search
			s.Root, s.Read = tree(t, c.files), readText
			if s.LevelDirs == nil {
				s.LevelDirs = []string{}
			}
			if c.dir != "" {
				s.Dir = filepath.Join(s.Root, c.dir)
			}
			found, err := s.ResolveLibraries(t.Context(), cmp.Or(c.exe, "/bin/x"))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, lib := range found {
				at := lib.Path
				if at == "" {
					at = "-"
				}
				if (lib.Path == "") != (lib.Err != nil) || (lib.Path != "" && lib.HostPath != filepath.Join(s.Root, lib.Path)) {
					t.Errorf("%+v", lib)
				}
				got = append(got, lib.Name+" "+at)
			}
			if diff := diffs.Diff(c.want, got); diff != "" {
				t.Errorf("want (-), got (+):\n%s", diff)
			}
		})
	}
}

func TestResolveLibrariesErrors(t *testing.T) {
	many := "need=a0"
	files := map[string]string{"bin/bad": "bad"}
	for i := range MaxLibraries + 1 {
		many += fmt.Sprintf(" need=a%d", i)
	}
	files["bin/many"] = many
	s := Search{Root: tree(t, files), Read: readText, LevelDirs: []string{}}
	for _, name := range []string{"/bin/none", "/bin/bad"} {
		if _, err := s.ResolveLibraries(t.Context(), name); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if found, err := s.ResolveLibraries(t.Context(), "/bin/many"); !errors.Is(err, ErrTruncated) || len(found) != MaxLibraries {
		t.Errorf("many: %d, %v", len(found), err)
	}
}

// readELF reads a real one.
func readELF(f *os.File) (Dynamic, error) {
	st, err := f.Stat()
	if err != nil {
		return Dynamic{}, err
	}
	e, err := usdt.Read(f, st.Size())
	if err != nil {
		return Dynamic{}, err
	}
	machine := elf.EM_X86_64
	if e.Arch == probe.ARM64 {
		machine = elf.EM_AARCH64
	}
	return Dynamic{
		Class: uint16(elf.ELFCLASS64), Machine: uint16(machine), Shared: e.Shared, Interp: e.Interp, Soname: e.Soname,
		Needed: e.Needed, RPath: e.RPath, RunPath: e.RunPath,
	}, nil
}

// What is foretold for a program is what it has loaded once it runs.
func TestResolveMatchesReality(t *testing.T) {
	for _, name := range []string{"fixture.runpath", "fixture.rpath"} {
		exe := fixture(t, name)
		found, err := Search{Read: readELF}.ResolveLibraries(t.Context(), exe)
		if err != nil {
			t.Fatal(err)
		}
		want := []string{}
		for _, lib := range found {
			if lib.Err != nil {
				t.Errorf("%+v", lib)
			}
			want = append(want, lib.Path)
		}
		all, _ := modules(t, attach(t, run(t, exec.Command(exe)).pid))
		var got []string
		for _, m := range all {
			if !m.Main {
				got = append(got, m.Path)
			}
		}
		slices.Sort(want)
		slices.Sort(got)
		if diff := diffs.Diff(want, got); diff != "" || len(got) != 5 {
			t.Errorf("%s: foretold (-), loaded (+):\n%s", name, diff)
		}
	}
}
