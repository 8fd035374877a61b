// SPDX-License-Identifier: Apache-2.0

package loader_test

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/phasetrace/phasetrace/internal/event"

	"golang.org/x/sys/unix"

	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/fixture/hangfs"
	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/testenv"
)

// holder returns a tracer that makes programs of the dynamic linker of file
// wait after exec; nil where there is nothing to wait in or with.
func holder(t *testing.T, file string) *loader.Tracer {
	t.Helper()
	testenv.BPF(t)
	tr, err := loader.Open(loader.Options{AllProcesses: true, FollowForks: true, Without: testenv.Without(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close() })
	linker, offset := linkerOf(t, file)
	if linker == "" {
		t.Log("the programs here are static: there is no dynamic linker to wait in")
		return nil
	}
	if !tr.HoldsExecs() {
		t.Log("nothing can wait where BPF programs may not fault memory in")
		return nil
	}
	if _, err := tr.HoldExecs(linker, offset); err != nil {
		t.Fatal(err)
	}
	return tr
}

// linkerOf returns a program's dynamic linker and the file offset of its entry.
func linkerOf(t *testing.T, file string) (path string, offset uint64) {
	t.Helper()
	f, err := elf.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		name := make([]byte, p.Filesz-1)
		if _, err := p.ReadAt(name, 0); err != nil {
			t.Fatal(err)
		}
		path = string(name)
	}
	if path == "" {
		return "", 0
	}
	l, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, p := range l.Progs {
		if p.Type == elf.PT_LOAD && l.Entry >= p.Vaddr && l.Entry < p.Vaddr+p.Filesz {
			return path, l.Entry - p.Vaddr + p.Off
		}
	}
	t.Fatalf("%s: no segment holds its entry", path)
	return "", 0
}

// startExec runs exec.c up to its exec of itself, a file that nobody has looked at.
func startExec(t *testing.T, tr *loader.Tracer, file string) *fixture.Proc {
	t.Helper()
	p := fixture.Start(t, file)
	p.Expect("ready")
	if err := tr.AddTarget(p.Pid()); err != nil {
		t.Fatal(err)
	}
	return p
}

// timeExec runs exec.c, and returns how long it took to run itself again.
func timeExec(t *testing.T, tr *loader.Tracer, file string) time.Duration {
	t.Helper()
	p := startExec(t, tr, file)
	began := time.Now()
	p.WriteLine("go")
	p.ReadLine()
	took := time.Since(began)
	p.WaitOK()
	return took
}

// Nobody lets the program go: it goes on by itself, as it would after the
// tracer was killed or stopped, and nobody waits for that file again.
func TestHoldEndsByItself(t *testing.T) {
	file := fixture.Build(t, "exec.c")
	tr := holder(t, file)
	if tr == nil {
		return
	}
	var took [2]time.Duration
	for i := range took {
		took[i] = timeExec(t, tr, file)
	}
	t.Logf("first %v, then %v", took[0], took[1])
	if took[0] < loader.HoldTime {
		t.Errorf("it went on after %v, nobody let it", took[0])
	}
}

// Programs that wait on one CPU, in turns, and others that start there and are
// not to wait, do not cut each other's wait short.
func TestHoldSharesCPU(t *testing.T) {
	const programs = 3
	tr := holder(t, fixture.Build(t, "exec.c"))
	if tr == nil {
		return
	}
	defer onFirstCPU(t)() // and so is what is started from here
	var waiting []*fixture.Proc
	for range programs {
		waiting = append(waiting, startExec(t, tr, fixture.Build(t, "exec.c"))) // a file of its own, which nobody knows
	}
	began := time.Now()
	for _, p := range waiting {
		p.WriteLine("go")
	}
	for time.Since(began) < loader.HoldTime/2 {
		if err := exec.Command("/bin/true").Run(); err != nil {
			t.Fatal(err)
		}
	}
	for i, p := range waiting {
		p.ReadLine()
		if took := time.Since(began); took < loader.HoldTime {
			t.Errorf("program %d went on after %v, nobody let it", i, took)
		}
		p.WaitOK()
	}
}

// onFirstCPU keeps the calling goroutine on one CPU until its result is called.
func onFirstCPU(t *testing.T) func() {
	t.Helper()
	runtime.LockOSThread()
	var before, one unix.CPUSet
	err := unix.SchedGetaffinity(0, &before)
	for cpu := 0; err == nil && one.Count() == 0; cpu++ {
		if before.IsSet(cpu) {
			one.Set(cpu)
			err = unix.SchedSetaffinity(0, &one)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := unix.SchedSetaffinity(0, &before); err != nil {
			t.Error(err)
		}
		runtime.UnlockOSThread()
	}
}

// A program that waits can be killed at once.
func TestHoldDiesWhenKilled(t *testing.T) {
	file := fixture.Build(t, "exec.c")
	tr := holder(t, file)
	if tr == nil {
		return
	}
	p := startExec(t, tr, file)
	p.WriteLine("go")
	ran := awaitEvent[event.Exec](t, tr)
	began := time.Now()
	p.Signal(syscall.SIGKILL)
	if p.Wait() == nil {
		t.Log("it was through before it was killed: the machine stood still")
	}
	t.Logf("ended %v after the signal", time.Since(began))
	if err := tr.ReleaseExec(p.Pid(), ran.File, true); err != nil {
		t.Errorf("release after the end: %v", err)
	}
}

// A program that is released goes on at once; its parent never sees it stop.
func TestHoldRelease(t *testing.T) {
	file := fixture.Build(t, "exec.c")
	tr := holder(t, file)
	if tr == nil {
		return
	}
	p := startExec(t, tr, file)
	p.WriteLine("go")
	ran := awaitEvent[event.Exec](t, tr)
	t.Logf("waiting: %v", tr.Waiting(p.Pid()))
	if err := tr.ReleaseExec(p.Pid(), ran.File, true); err != nil {
		t.Fatal(err)
	}
	if tr.Waiting(p.Pid()) {
		t.Error("it waits although it was let go")
	}
	p.ReadLine()
	p.WaitOK()
	again := startExec(t, tr, file)
	again.WriteLine("go")
	again.ReadLine()
	again.WaitOK()
}

// awaitEvent reads until an event of a type comes and returns a copy of it.
func awaitEvent[E any](t *testing.T, tr *loader.Tracer) E {
	t.Helper()
	var found *E
	for deadline := time.Now().Add(time.Minute); found == nil; {
		if time.Now().After(deadline) {
			t.Fatalf("no %T", found)
		}
		_, err := tr.Read(time.Now().Add(10*time.Millisecond), func(ev event.Event) {
			if ev, ok := any(ev).(*E); ok && found == nil {
				copied := *ev
				found = &copied
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return *found
}

// A file that was looked at is another one after it was written over, or removed
// and made anew under the same inode number: who runs it waits again.
func TestHoldRebuiltFile(t *testing.T) {
	file := fixture.Build(t, "exec.c")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	tr := holder(t, file)
	if tr == nil {
		return
	}
	for _, rebuild := range []struct {
		name string
		how  func(t *testing.T, file string, text []byte) (sameInode bool)
	}{{"written over", writeOver}, {"made anew", makeAnew}} {
		known := lookedAt(t, tr, file)
		if took := timeExec(t, tr, file); took >= loader.HoldTime {
			t.Logf("a known file: it went on after %v", took) // a busy machine
		}
		awaitEvent[event.Exec](t, tr)
		if !rebuild.how(t, file, text) {
			t.Logf("%s: this file system does not use the inode again", rebuild.name)
		}
		took := timeExec(t, tr, file)
		if took < loader.HoldTime {
			t.Errorf("%s: it went on after %v, though nobody has looked at it", rebuild.name, took)
		}
		if now := awaitEvent[event.Exec](t, tr).File; now == known {
			t.Errorf("%s: the file is %+v as before", rebuild.name, now)
		}
	}
}

// lookedAt runs a file as one that has been looked at from then on.
func lookedAt(t *testing.T, tr *loader.Tracer, file string) event.File {
	t.Helper()
	p := startExec(t, tr, file)
	p.WriteLine("go")
	ran := awaitEvent[event.Exec](t, tr)
	if err := tr.ReleaseExec(p.Pid(), ran.File, true); err != nil {
		t.Fatal(err)
	}
	p.ReadLine()
	p.WaitOK()
	return ran.File
}

// writeOver writes a file without making a new one.
func writeOver(t *testing.T, file string, text []byte) bool {
	t.Helper()
	if err := os.WriteFile(file, text, 0o755); err != nil { // no linker has it open: ETXTBSY otherwise
		t.Fatal(err)
	}
	return true
}

// makeAnew removes a file and makes another, with the same inode number if the
// file system gives it away soon.
func makeAnew(t *testing.T, file string, text []byte) bool {
	t.Helper()
	before := inodeOf(t, file)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	for i := range 64 {
		made := file + strconv.Itoa(i)
		if err := os.WriteFile(made, text, 0o755); err != nil {
			t.Fatal(err)
		}
		if inodeOf(t, made) == before || i == 63 {
			if err := os.Rename(made, file); err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	return inodeOf(t, file) == before
}

func inodeOf(t *testing.T, file string) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(file, &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

// entryOf returns the file offset of a program's entry.
func entryOf(t *testing.T, file string) uint64 {
	t.Helper()
	f, err := elf.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD && f.Entry >= p.Vaddr && f.Entry < p.Vaddr+p.Filesz {
			return f.Entry - p.Vaddr + p.Off
		}
	}
	t.Fatalf("%s: no segment holds its entry", file)
	return 0
}

// starter returns a tracer that watches the start of exec.c, a program of it
// that has not executed itself yet, and its file.
func starter(t *testing.T) (*loader.Tracer, *fixture.Proc, string) {
	t.Helper()
	testenv.BPF(t)
	tr, err := loader.Open(loader.Options{Without: testenv.Without(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close() })
	file := fixture.Build(t, "exec.c")
	if _, err := tr.WatchStart(file, entryOf(t, file)); err != nil {
		t.Fatal(err)
	}
	return tr, startExec(t, tr, file), file
}

// Who reaches a file's first code tells so and waits to be let go; other
// processes pass.
func TestFileStart(t *testing.T) {
	tr, p, file := starter(t)
	stranger := fixture.Start(t, file)
	stranger.Expect("ready")
	stranger.WriteLine("go")
	stranger.WaitOK()
	p.WriteLine("go")
	ev := awaitEvent[event.FileStart](t, tr)
	if ev.Who.ViewPID != p.Pid() {
		t.Errorf("process %d has started, want %d", ev.Who.ViewPID, p.Pid())
	}
	if tr.HoldsExecs() {
		// Letting go after an exec is not for it.
		if err := tr.ReleaseExec(p.Pid(), event.File{Device: 1, Inode: 1}, false); err != nil {
			t.Error(err)
		}
		if !tr.Waiting(p.Pid()) {
			t.Log("not waiting any more: the machine stood still")
		}
	}
	if err := tr.ReleaseHeld(p.Pid()); err != nil {
		t.Fatal(err)
	}
	if tr.Waiting(p.Pid()) {
		t.Error("it waits although it was let go")
	}
	p.ReadLine()
	p.WaitOK()
	if err := tr.ReleaseHeld(p.Pid()); err != nil {
		t.Errorf("release after the end: %v", err)
	}
}

// Nobody lets it go: it goes on by itself, and waits the next time again.
func TestFileStartEndsByItself(t *testing.T) {
	tr, p, file := starter(t)
	if !tr.HoldsExecs() {
		t.Log("nothing can wait where BPF programs may not fault memory in")
		return
	}
	for range 2 {
		began := time.Now()
		p.WriteLine("go")
		p.ReadLine()
		if took := time.Since(began); took < loader.HoldTime {
			t.Errorf("it went on after %v, nobody let it", took)
		}
		p.WaitOK()
		p = startExec(t, tr, file)
	}
}

// A program that runs the linker's first instruction by itself, and has put a page
// that does not come where its stack was, waits no longer than any other.
func TestHoldOfFakedStart(t *testing.T) {
	file := fixture.Build(t, "exec.c")
	tr := holder(t, file)
	if tr == nil {
		return
	}
	linker, offset := linkerOf(t, file)
	fs := hangfs.Mount(t, map[string][]byte{"page": make([]byte, 1<<16)})
	defer fs.Answer()
	p := fixture.Start(t, fixture.Build(t, "fakestart.c", "-static"), linker, fmt.Sprint(offset), filepath.Join(fs.Dir, "page"))
	p.Expect("ready")
	if err := tr.AddTarget(p.Pid()); err != nil {
		t.Fatal(err)
	}
	fs.Hang(hangfs.Read)
	began := time.Now()
	p.WriteLine("go")
	p.Expect("start")
	var exit *exec.ExitError
	if err := p.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 7 {
		t.Errorf("it ended with %v, want status 7: it has not run the linker's first instruction", err)
	}
	if took := time.Since(began); took < loader.HoldTime {
		t.Errorf("it ended after %v: it did not wait", took)
	}
}
