// SPDX-License-Identifier: Apache-2.0

package session

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/cap"

	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/fixture/hangfs"
	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
	"github.com/phasetrace/phasetrace/internal/testenv"
)

// openForWriting opens a file for writing and changes nothing. It waits for who
// keeps it from that.
func openForWriting(t *testing.T, path string) *os.File {
	t.Helper()
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// The probes of a library go and come while a program is in its phases: they are
// closed then, what is around them is not, and nobody is blamed.
func TestPhasesOfOverwrittenLibrary(t *testing.T) {
	testenv.BPF(t)
	for _, counting := range []bool{false, true} {
		t.Run(fmt.Sprintf("counting=%v", counting), func(t *testing.T) {
			library := placed(t, versions(t, true, fixture.Versions[0])[0])
			p := startReload(t, library, "program")
			p.WriteLine("load")
			p.Expect("loaded")
			said := newMessages()
			tr := attach(t, []int{p.Pid()}, Config{Count: counting, Message: said.add})
			const times = 20
			stop, runs := make(chan struct{}), make(chan uint64)
			go func() {
				n := uint64(0)
				defer func() { runs <- n }()
				for ; ; n++ {
					select {
					case <-stop:
						return
					default:
						runLibrary(p, 5000, prints(fixture.Versions[0]))
					}
				}
			}()
			for i := range times {
				openForWriting(t, library).Close()
				said.await(t, attachedAgain, i+1)
			}
			close(stop)
			outer := <-runs
			p.CloseStdin()
			p.WaitOK()
			sum := tr.wait()
			if sum.ViolationTotal != 0 {
				t.Errorf("%d violations: %v", sum.ViolationTotal, sum.Violations)
			}
			made := make(map[string]int)
			for i := range tr.boundaries {
				if b := &tr.boundaries[i]; b.Synthetic != stream.ReasonNone && b.Action == recorder.Exit {
					made[string(b.Synthetic)+" "+b.Path.Name()]++
				}
			}
			t.Logf("%d runs, phases that were closed: %v; notes %v", outer, made, sum.Notes)
			wantOverwritten(t, sum, times)
			if sum.Lost > 0 {
				return // nothing more can be said: the machine is too busy
			}
			delete(made, "probes_removed first")
			if os.Getenv(fixture.PrebuiltEnv) != "" { // whose memory is being looked at has no names fetched from pages that are not there
				delete(made, "probes_removed "+nameUnread)
			}
			if n := tr.phases(t)["program"]; n != outer || len(made) > 0 {
				t.Errorf("%d phases of the program, want %d; phases that were closed: %v", n, outer, made)
			}
		})
	}
}

// Once a writer has a file open, no breakpoint of it is left and no semaphore is
// raised, in any process and whoever linked it.
func TestWriterWaitsForProbes(t *testing.T) {
	testenv.BPF(t)
	for _, linker := range fixture.Linkers {
		for _, m := range modes {
			if m.name != "native" && m.name != "no-uprobe-multi" {
				continue
			}
			t.Run(linker+"/"+m.name, func(t *testing.T) {
				writerWaits(t, placed(t, linked(t, linker, "libversion.c", fixture.Versions[0].Library()...)), m.without)
			})
		}
	}
}

func writerWaits(t *testing.T, library string, without loader.Without) {
	p := startReload(t, library)
	p.WriteLine("load")
	p.Expect("loaded")
	state := look(t, p.Pid(), library)
	said := newMessages()
	tr := attach(t, []int{p.Pid()}, Config{Message: said.add, Without: without})
	before := tr.session.watcher.tracer.Links()
	var waits []time.Duration
	for i := range 5 {
		began := time.Now()
		f := openForWriting(t, library)
		waits = append(waits, time.Since(began).Round(100*time.Microsecond))
		if n := tr.session.watcher.tracer.Links(); n >= before {
			t.Errorf("the library is open for writing, and %d of %d links are there", n, before)
		}
		if !state.gone() {
			t.Error("the library is open for writing, and a probe is left in the program")
		}
		f.Close()
		said.await(t, attachedAgain, i+1)
	}
	t.Logf("waited %v", waits)
	tr.stop()
	state.mustBeGone()
	openForWriting(t, library).Close()
	p.CloseStdin()
	p.WaitOK()
}

// A library that somebody has open for writing is not attached to, which is told,
// until that is over.
func TestOpenForWriting(t *testing.T) {
	const rounds = 50
	library := placed(t, versions(t, true, fixture.Versions[0])[0])
	p := startReload(t, library, "program")
	w := openForWriting(t, library)
	defer w.Close()
	said := newMessages()
	tr := attach(t, []int{p.Pid()}, Config{Message: said.add})
	p.WriteLine("load")
	p.Expect("loaded")
	said.await(t, "is open for writing", 1)
	runLibrary(p, rounds, prints(fixture.Versions[0]))
	w.Close()
	said.await(t, attachedAgain, 1)
	runLibrary(p, rounds, prints(fixture.Versions[0]))
	p.CloseStdin()
	p.WaitOK()
	sum := tr.wait()
	if n := tr.phases(t)[fixture.Versions[0].Name]; n != rounds {
		t.Errorf("%d phases, want %d", n, rounds)
	}
	wantOverwritten(t, sum, 1)
}

// Where nothing else could be attached to, the session does not begin.
func TestOnlyFileOpenForWriting(t *testing.T) {
	testenv.BPF(t)
	library := placed(t, versions(t, true, fixture.Versions[0])[0])
	p := fixture.Start(t, fixture.Build(t, "reload.c", "-ldl", "-DPHASETRACE_DISABLE"), library)
	p.Expect("ready")
	p.WriteLine("load")
	p.Expect("loaded")
	w := openForWriting(t, library)
	defer w.Close()
	_, err := runAll(t.Context(), []int{p.Pid()}, Config{Sink: &collector{}, Message: func(m string) { t.Log(m) }, Without: testenv.Without(t)})
	if err == nil || !strings.Contains(err.Error(), library) || !strings.Contains(err.Error(), "open for writing") {
		t.Errorf("error %v", err)
	}
	// One that is closed soon is waited for.
	time.AfterFunc(50*time.Millisecond, func() { w.Close() })
	tr := attach(t, []int{p.Pid()}, Config{})
	runLibrary(p, 5, prints(fixture.Versions[0]))
	p.CloseStdin()
	p.WaitOK()
	tr.wait()
	if n := tr.phases(t)[fixture.Versions[0].Name]; n != 5 {
		t.Errorf("%d phases, want 5", n)
	}
}

// A process that keeps the old contents of a library loaded keeps its old data:
// semaphores of new contents that lie elsewhere are not raised there. It is told,
// and ends when the library is loaded anew.
func TestOldContentsKept(t *testing.T) {
	old, now := fixture.Versions[1], fixture.Versions[3] // their semaphores are elsewhere
	paths := versions(t, true, old, now)
	library := placed(t, paths[0])
	p := startReload(t, library, "program")
	p.WriteLine("load")
	p.Expect("loaded")
	said := newMessages()
	tr := attach(t, []int{p.Pid()}, Config{Message: said.add})
	fixture.Overwrite(t, library, paths[1])
	said.await(t, fmt.Sprintf("process %d shows the contents", p.Pid()), 1)
	file, err := parseFile(library)
	if err != nil {
		t.Fatal(err)
	}
	for i := range file.elf.Sites {
		if at := mappedAt(t, p.Pid(), library, file.elf.Sites[i].RefCtr); at != 0 {
			if raised := readWord(t, p.Pid(), at); raised != 0 {
				t.Errorf("%#x of the old data is %d, as if it were a semaphore", file.elf.Sites[i].RefCtr, raised)
			}
		}
	}
	p.Kill() // its end would run what is in the library now
	sum := tr.wait()
	if n := tr.phases(t)[now.Name]; n != 0 {
		t.Errorf("%d phases of the new contents", n)
	}
	wantOverwritten(t, sum, 1)
}

// mappedAt returns the address at which a process shows a place of a file, in
// memory that it can write to; 0 for nowhere.
func mappedAt(t *testing.T, pid int, path string, offset uint64) uint64 {
	t.Helper()
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(maps)) {
		var start, end, from uint64
		var perms string
		if _, err := fmt.Sscanf(line, "%x-%x %s %x", &start, &end, &perms, &from); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(line, path) && strings.Contains(perms, "w") && offset >= from && offset < from+end-start {
			return start + offset - from
		}
	}
	return 0
}

func readWord(t *testing.T, pid int, at uint64) uint16 {
	t.Helper()
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	var b [2]byte
	if _, err := mem.ReadAt(b[:], int64(at)); err != nil {
		t.Fatal(err)
	}
	return uint16(b[0]) | uint16(b[1])<<8
}

// A file system that cannot keep its files from being written to: they are traced,
// and the danger is told.
func TestUnguardedFileSystem(t *testing.T) {
	const rounds = 20
	v := fixture.Versions[0]
	data, err := os.ReadFile(versions(t, true, v)[0])
	if err != nil {
		t.Fatal(err)
	}
	fs := hangfs.Mount(t, map[string][]byte{"versions.so": data})
	p := startReload(t, filepath.Join(fs.Dir, "versions.so"))
	p.WriteLine("load")
	p.Expect("loaded")
	said := newMessages()
	tr := attach(t, []int{p.Pid()}, Config{Message: said.add})
	runLibrary(p, rounds, prints(v))
	p.CloseStdin()
	p.WaitOK()
	tr.wait()
	// Names there are not waited for.
	if seen := tr.phases(t); seen[v.Name]+seen[nameUnread] != rounds || said.count("FUSE") != 1 {
		t.Errorf("phases %v, want %d; said %q", seen, rounds, said.all)
	}
}

// Without CAP_LEASE, other users' files are watched: the danger is told, and what
// is written is traced.
func TestWithoutLeases(t *testing.T) {
	testenv.Require(t, os.Geteuid() == 0, "giving files away needs root")
	const rounds = 20
	first, second := fixture.Versions[0], fixture.Versions[2]
	paths := versions(t, true, first, second)
	library := placed(t, paths[0])
	if err := os.Chown(library, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	had := cap.GetProc()
	without, err := had.Dup()
	if err == nil {
		err = without.SetFlag(cap.Effective, false, cap.LEASE)
	}
	if err == nil {
		err = without.SetProc()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := had.SetProc(); err != nil {
			t.Error(err)
		}
	})
	p := startReload(t, library, "program")
	said := newMessages()
	tr := attach(t, []int{p.Pid()}, Config{Libraries: []string{library}, Message: said.add})
	runLibrary(p, rounds, prints(first))
	fixture.Overwrite(t, library, paths[1])
	said.await(t, attachedAgain, 1)
	runLibrary(p, rounds, prints(second))
	p.CloseStdin()
	p.WaitOK()
	sum := tr.wait()
	if seen := tr.phases(t); seen[first.Name] != rounds || seen[second.Name] != rounds || said.count("CAP_LEASE") != 1 {
		t.Errorf("phases %v, want %d of each version; said %q", seen, rounds, said.all)
	}
	wantOverwritten(t, sum, 1)
}

// A dynamic linker is a file like others: what makes it tell of libraries is out
// while somebody writes to it, and back after that.
func TestLinkerOverwritten(t *testing.T) {
	linker := filepath.Join(t.TempDir(), "linker")
	fixture.Overwrite(t, linker, systemLinker(t))
	library := fixture.Build(t, "libphase.c", asLibrary...)
	p := fixture.Start(t, withCompiler(t, "", "dlopen.c", "-ldl", "-Wl,--dynamic-linker="+linker), library)
	p.Expect("ready")
	said := newMessages()
	tr := attach(t, []int{p.Pid()}, Config{Message: said.add})
	tracer := tr.session.watcher.tracer
	before := tracer.Links()
	w := openForWriting(t, linker)
	if n := tracer.Links(); n >= before {
		t.Errorf("the linker is open for writing, and %d of %d links are there", n, before)
	}
	w.Close()
	eventually(t, "the return of the linker's probes", func() bool { return tracer.Links() >= before })
	p.WriteLine("load")
	p.Expect("loaded")
	said.await(t, "after a library was mapped", 1)
	p.WriteLine("library 10")
	p.ReadLine()
	p.CloseStdin()
	p.WaitOK()
	sum := tr.wait()
	if n := tr.phases(t)["library"]; n != 10 {
		t.Errorf("%d phases, want 10", n)
	}
	wantOverwritten(t, sum, 1)
}

// Programs of a container's image, which is on overlayfs: one that is overwritten
// there becomes a file of the upper layer.
func TestOverlayOverwritten(t *testing.T) {
	testenv.Require(t, os.Geteuid() == 0, "mounting needs root")
	testenv.BPF(t)
	const rounds = 50
	first, second := fixture.Versions[0], fixture.Versions[1]
	paths := versions(t, false, first, second)
	inTime(t, func(t *testing.T) *stream.Summary {
		lower, dir := t.TempDir(), t.TempDir()
		fixture.Overwrite(t, filepath.Join(lower, "program"), paths[0])
		options := strings.Join([]string{"lowerdir=" + lower, "upperdir=" + t.TempDir(), "workdir=" + t.TempDir()}, ",")
		if err := unix.Mount("none", dir, "overlay", 0, options); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
		program, sh := filepath.Join(dir, "program"), startShell(t)
		tr := attach(t, []int{sh.Pid()}, Config{Follow: true})
		sh.run(program, rounds, prints(first))
		for i := range 3 { // up from the lower layer, then in the upper one
			v := fixture.Versions[(i+1)%2]
			fixture.Overwrite(t, program, paths[(i+1)%2])
			sh.run(program, rounds, prints(v))
			untraced(t, program, rounds, prints(v))
		}
		sh.CloseStdin()
		sh.WaitOK()
		sum := tr.wait()
		wantOverwritten(t, sum, 3)
		if seen := tr.phases(t); len(sum.Notes) == 0 && (seen[first.Name] != 2*rounds || seen[second.Name] != 2*rounds) {
			t.Errorf("phases %v, want %d of each version", seen, 2*rounds)
		}
		return sum
	})
}
