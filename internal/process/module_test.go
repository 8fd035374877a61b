// SPDX-License-Identifier: Apache-2.0

package process

import (
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// placed checks that the mappings show a module's file as a loader places it,
// every segment as far from its virtual address as the code, and returns where
// marker() must be then, 0 where the file has none.
func placed(t *testing.T, m *Module) (marker uint64) {
	t.Helper()
	f, err := m.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	file, err := elf.NewFile(f)
	if err != nil {
		t.Fatal(err)
	}
	bias := codeBias(t, m, file)
	for _, p := range file.Progs {
		if p.Type == elf.PT_LOAD && p.Filesz > 0 && !shows(m, p.Vaddr+bias, p.Off) {
			t.Errorf("%q: no mapping shows offset %#x at %#x: %+v", m.Path, p.Off, p.Vaddr+bias, m.Mappings)
		}
	}
	symbols, err := file.DynamicSymbols()
	if err != nil {
		symbols, _ = file.Symbols()
	}
	for _, s := range symbols {
		if s.Name == "marker" {
			marker = s.Value + bias
		}
	}
	return marker
}

// codeBias returns how far the executable mapping of a file's first executable
// segment is from where its program headers put it.
func codeBias(t *testing.T, m *Module, file *elf.File) uint64 {
	t.Helper()
	for _, p := range file.Progs {
		if p.Type != elf.PT_LOAD || p.Flags&elf.PF_X == 0 {
			continue
		}
		for _, x := range m.Mappings {
			if x.Executable() && p.Off >= x.Offset && p.Off-x.Offset < x.End-x.Start {
				return x.Start + (p.Off - x.Offset) - p.Vaddr
			}
		}
	}
	t.Fatalf("%q: its code is not in %+v", m.Path, m.Mappings)
	return 0
}

// shows reports whether an address shows the byte at a file offset.
func shows(m *Module, address, offset uint64) bool {
	return slices.ContainsFunc(m.Mappings, func(x Mapping) bool {
		return address >= x.Start && address < x.End && x.Offset+(address-x.Start) == offset
	})
}

func TestModules(t *testing.T) {
	for _, name := range []string{"fixture", "fixture.nopie", "fixture.noseparate", "fixture.bigpage"} {
		t.Run(name, func(t *testing.T) {
			exe := fixture(t, name)
			child := run(t, exec.Command(exe))
			p := attach(t, child.pid)
			all, main := modules(t, p)
			if main.Path != exe || main.Deleted || main.OpenPath != fmt.Sprintf("/proc/%d/exe", child.pid) {
				t.Errorf("%+v", main)
			}
			if marker := placed(t, main); marker != child.marker {
				t.Errorf("marker at %#x, want %#x", marker, child.marker)
			}
			var names []string
			for _, m := range all {
				names = append(names, filepath.Base(m.Path))
				placed(t, &m)
			}
			if !slices.Contains(names, "libc.so.6") || len(names) != 3 {
				t.Errorf("modules %v", names)
			}
		})
	}
}

// start runs a copy of the fixture at a path of our choice.
func startCopy(t *testing.T, path string) *program {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	copyFile(t, fixture(t, "fixture"), path)
	return run(t, exec.Command(path))
}

func TestDeletedAndReplaced(t *testing.T) {
	original := fixture(t, "fixture")
	for name, change := range map[string]func(path string) error{
		"deleted": os.Remove,
		"replaced": func(path string) error {
			if err := os.Remove(path); err != nil {
				return err
			}
			return os.WriteFile(path, []byte("\x7fELF is another file now"), 0o755)
		},
		"replaced by a pipe": func(path string) error {
			if err := os.Remove(path); err != nil {
				return err
			}
			return unix.Mkfifo(path, 0o777)
		},
		"replaced by a link": func(path string) error {
			if err := os.Remove(path); err != nil {
				return err
			}
			return os.Symlink("/dev/zero", path)
		},
		"directory moved": func(path string) error { return os.Rename(filepath.Dir(path), filepath.Dir(path)+".old") },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path, lib := filepath.Join(dir, "d", "program"), filepath.Join(dir, "d", "lib.so")
			child := startCopy(t, path)
			library(t, lib)
			copyFile(t, lib, lib+".copy")
			child.say("dlopen %s", lib)
			child.number("dlopen")
			for _, file := range []string{path, lib} {
				if err := change(file); err != nil {
					t.Fatal(err)
				}
				if name == "directory moved" {
					path, lib = filepath.Join(dir, "d.old", "program"), filepath.Join(dir, "d.old", "lib.so")
					break
				}
			}
			deleted := name != "directory moved"
			p := attach(t, child.pid)
			if p.Exe != path {
				t.Errorf("executable %q, want %q", p.Exe, path)
			}
			needCheckpoint(t)
			all, main := modules(t, p)
			if main.Path != path || main.Deleted != deleted {
				t.Errorf("%+v", main)
			}
			sameContents(t, main, original)
			m := find(all, lib)
			if m == nil {
				t.Fatalf("no library among %+v", all)
			}
			if m.Deleted != deleted {
				t.Errorf("%+v", m)
			}
			if deleted {
				sameContents(t, m, filepath.Join(dir, "d", "lib.so.copy"))
			}
		})
	}
}

func needCheckpoint(t *testing.T) {
	t.Helper()
	need(t, holds("CAP_CHECKPOINT_RESTORE") || holds("CAP_SYS_ADMIN"), "CAP_CHECKPOINT_RESTORE")
}

func TestAwkwardPaths(t *testing.T) {
	for _, name := range []string{
		"a b", "a\nb", `a\012b`, "a (deleted)", "a (deleted) (deleted)", "a\tb\x1b[2J", "\xff\xfe", "[vdso]", "a//b", strings.Repeat("long", 60),
	} {
		path := filepath.Clean(filepath.Join(t.TempDir(), name))
		child := startCopy(t, path)
		_, main := modules(t, attach(t, child.pid))
		if main.Path != path || main.Deleted {
			t.Errorf("%q: %q, deleted %v", path, main.Path, main.Deleted)
		}
	}
}

func TestModulesSince(t *testing.T) {
	dir := t.TempDir()
	child := run(t, exec.Command(fixture(t, "fixture")))
	p := attach(t, child.pid)
	first, err := p.Modules()
	if err != nil {
		t.Fatal(err)
	}
	added, second, err := p.ModulesSince(first)
	if err != nil || len(added) != 0 || len(second) != len(first) {
		t.Errorf("nothing new: %+v, %v", added, err)
	}
	lib := filepath.Join(dir, "late library.so")
	library(t, lib)
	child.say("dlopen %s", lib)
	if child.number("dlopen") != 1 {
		t.Fatal("not loaded")
	}
	added, third, err := p.ModulesSince(second)
	if err != nil || len(added) != 1 || added[0].Path != lib || len(third) != len(first)+1 {
		t.Errorf("a library: %+v, %v", added, err)
	}
	for i := range third {
		f, err := third[i].Open()
		if err != nil {
			t.Error(err)
			continue
		}
		f.Close()
	}
	child.say("exit 0")
	<-p.Done()
	if _, err := added[0].Open(); err == nil {
		t.Error("a module of an ended process opens")
	}
}

// A memory file has no path at all, and can be executed nevertheless.
func TestMemoryFile(t *testing.T) {
	needCheckpoint(t)
	data, err := os.ReadFile(fixture(t, "fixture"))
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.MemfdCreate("in memory", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "memory")
	defer f.Close()
	if _, err := f.Write(data); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/fd/3")
	cmd.ExtraFiles = []*os.File{f}
	child := run(t, cmd)
	_, main := modules(t, attach(t, child.pid))
	if main.Path != "/memfd:in memory" || !main.Deleted {
		t.Errorf("%+v", main)
	}
	sameContents(t, main, fixture(t, "fixture"))
}

func init() {
	helpers["container"] = func() error {
		root, exe := os.Args[1], os.Args[2]
		data, err := os.ReadFile(exe)
		if err != nil {
			return err
		}
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			return err
		}
		if err := unix.Mount("tmpfs", root, "tmpfs", 0, "mode=755"); err != nil {
			return fmt.Errorf("mount tmpfs: %w", err)
		}
		for _, d := range []string{"app", "app/lib", "old", "proc"} {
			if err := os.Mkdir(filepath.Join(root, d), 0o755); err != nil {
				return err
			}
		}
		if err := os.WriteFile(filepath.Join(root, "app/program"), data, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(root, "app/lib/a"), []byte("a library"), 0o644); err != nil {
			return err
		}
		if os.Args[3] == "pivot" {
			if err := unix.PivotRoot(root, filepath.Join(root, "old")); err != nil {
				return fmt.Errorf("pivot_root: %w", err)
			}
			if err := unix.Unmount("/old", unix.MNT_DETACH); err != nil {
				return err
			}
		} else if err := unix.Chroot(root); err != nil {
			return err
		}
		if err := os.Chdir("/app"); err != nil {
			return err
		}
		return unix.Exec("/app/program", []string{"program"}, []string{"RANK=9", "LD_LIBRARY_PATH=lib"})
	}
}

func TestContainer(t *testing.T) {
	needRoot(t)
	exe := fixture(t, "fixture.static")
	mapIDs := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}}
	for _, c := range []struct {
		name, root string
		flags      uintptr
	}{
		{"mount, PID and user namespaces", "pivot", unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUSER},
		{"mount and PID namespaces", "pivot", unix.CLONE_NEWNS | unix.CLONE_NEWPID},
		{"chroot in a mount namespace", "chroot", unix.CLONE_NEWNS},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd := helper("container", t.TempDir(), exe, c.root)
			cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: c.flags}
			if c.flags&unix.CLONE_NEWUSER != 0 {
				cmd.SysProcAttr.UidMappings, cmd.SysProcAttr.GidMappings = mapIDs, mapIDs
			}
			child := run(t, cmd)
			p := attach(t, child.pid)
			all, main := modules(t, p)
			if main.Path != "/app/program" || p.Exe != "/app/program" || len(all) != 1 {
				t.Errorf("%+v %+v", p, all)
			}
			sameContents(t, main, exe)
			if marker := placed(t, main); marker != child.marker {
				t.Errorf("marker at %#x, want %#x", marker, child.marker)
			}
			newPID := c.flags&unix.CLONE_NEWPID != 0
			if got := p.NSPIDs; got[0] != child.pid || got[len(got)-1] != child.own || (len(got) == 2) != newPID {
				t.Errorf("NSPIDs %v of %d, own %d", got, child.pid, child.own)
			}
			ns, err := p.Namespaces()
			if err != nil || ns.PID.Ours == newPID || ns.Mount.Ours || ns.User.Ours != (c.flags&unix.CLONE_NEWUSER == 0) ||
				!ns.Container() || ns.PID.Inode == 0 {
				t.Errorf("%+v, %v", ns, err)
			}
			if rank, _, ok := p.Rank(); rank != 9 || !ok {
				t.Errorf("rank %d, %v", rank, ok)
			}
			search, err := p.LibrarySearch()
			if err != nil {
				t.Fatal(err)
			}
			search.Read = func(f *os.File) (d Dynamic, err error) {
				if filepath.Base(f.Name()) == "program" {
					d.Needed = []string{"a"}
				}
				return d, nil
			}
			libs, err := search.ResolveLibraries(t.Context(), p.Exe)
			if err != nil || len(libs) != 1 || libs[0].Path != "/app/lib/a" {
				t.Errorf("libraries from the working directory: %+v, %v; want /app/lib/a", libs, err)
			} else if data, err := os.ReadFile(libs[0].HostPath); string(data) != "a library" {
				t.Errorf("%s holds %q, %v", libs[0].HostPath, data, err)
			}
		})
	}
	ns, err := attach(t, run(t, exec.Command(exe)).pid).Namespaces()
	if err != nil || ns.Container() {
		t.Errorf("not in a container: %+v, %v", ns, err)
	}
}

func TestChroot(t *testing.T) {
	needRoot(t)
	root := t.TempDir()
	exe := fixture(t, "fixture.static")
	copyFile(t, exe, filepath.Join(root, "program"))
	cmd := exec.Command("/program")
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
	cmd.Dir = "/"
	child := run(t, cmd)
	p := attach(t, child.pid)
	_, main := modules(t, p)
	if main.Path != "/program" || p.Exe != "/program" {
		t.Errorf("%+v %+v", p, main)
	}
	sameContents(t, main, exe)
}

// overlayfs shows one identity in stat and may show another in maps.
func TestOverlay(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	mount := func(source, at, kind, options string) {
		t.Helper()
		if err := os.MkdirAll(at, 0o755); err != nil {
			t.Fatal(err)
		}
		err := unix.Mount(source, at, kind, 0, options)
		if err == unix.ENODEV {
			t.Skipf("this kernel has no %s", kind)
		}
		need(t, err == nil, "mounts of "+kind)
		t.Cleanup(func() { _ = unix.Unmount(at, unix.MNT_DETACH) })
	}
	lower, upper, merged := filepath.Join(dir, "lower"), filepath.Join(dir, "upper"), filepath.Join(dir, "merged")
	mount("tmpfs", lower, "tmpfs", "mode=755")
	mount("tmpfs", upper, "tmpfs", "mode=755")
	for _, d := range []string{"up", "work"} {
		if err := os.Mkdir(filepath.Join(upper, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	original := fixture(t, "fixture")
	copyFile(t, original, filepath.Join(lower, "program"))
	library(t, filepath.Join(lower, "lib.so"))
	mount("overlay", merged, "overlay", fmt.Sprintf("lowerdir=%s,upperdir=%s/up,workdir=%s/work", lower, upper, upper))
	child := run(t, exec.Command(filepath.Join(merged, "program")))
	lib := filepath.Join(merged, "lib.so")
	child.say("dlopen %s", lib)
	child.number("dlopen")
	all, main := modules(t, attach(t, child.pid))
	if main.Path != filepath.Join(merged, "program") {
		t.Errorf("%+v", main)
	}
	sameContents(t, main, original)
	m := find(all, lib)
	if m == nil || strings.Contains(m.OpenPath, "map_files") {
		t.Fatalf("%+v", m)
	}
	sameContents(t, m, lib)
	t.Logf("maps say %d:%d, stat %+v", m.Dev, m.Inode, m.file)
}

type moduleAnswer struct{ Path, OpenPath, Err string }

func init() {
	helpers["modules"] = func() error {
		var pid int
		if _, err := fmt.Sscan(os.Args[1], &pid); err != nil {
			return err
		}
		p, err := Open(pid)
		if err != nil {
			return err
		}
		defer p.Close()
		all, err := p.Modules()
		if err != nil {
			return err
		}
		var list []moduleAnswer
		for _, m := range all {
			a := moduleAnswer{Path: m.Path, OpenPath: m.OpenPath}
			if m.Err != nil {
				a.Err = m.Err.Error()
			}
			list = append(list, a)
		}
		return answer(list)
	}
}

// Without privileges one's own process is readable, but for a deleted library.
func TestUnprivileged(t *testing.T) {
	needRoot(t)
	nobody := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	dir, err := os.MkdirTemp("", "target")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	exe, lib := filepath.Join(dir, "program"), filepath.Join(dir, "lib.so")
	copyFile(t, fixture(t, "fixture"), exe)
	library(t, lib)
	cmd := exec.Command(exe)
	cmd.SysProcAttr = nobody
	child := run(t, cmd)
	child.say("dlopen %s", lib)
	child.number("dlopen")
	for _, path := range []string{exe, lib} {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	look := helper("modules", fmt.Sprint(child.pid))
	look.SysProcAttr = nobody
	var all []moduleAnswer
	ask(t, look, &all)
	for _, m := range all {
		if (m.Err != "") != (m.Path == lib) || (m.OpenPath == "") != (m.Path == lib) {
			t.Errorf("%+v", m)
		}
		if m.Path == lib && !strings.Contains(m.Err, "CAP_CHECKPOINT_RESTORE is missing") {
			t.Errorf("%+v", m)
		}
	}
	if len(all) != 4 {
		t.Errorf("%+v", all)
	}
}

func TestManyMappings(t *testing.T) {
	all, _ := modules(t, attach(t, run(t, exec.Command(fixture(t, "many"))).pid))
	if len(all) != 3 {
		t.Errorf("%+v", all)
	}
}
