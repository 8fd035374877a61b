// SPDX-License-Identifier: Apache-2.0

package process

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/phasetrace/phasetrace/internal/await"
	"github.com/phasetrace/phasetrace/internal/fixture/hangfs"
)

// What is foretold of a program that is held before its first instruction,
// from its environment and working directory, is what it has loaded once it
// runs: relative directories and names, empty elements, preloaded libraries,
// and a dynamic linker that was told what to run.
func TestSearchOfHeldProgram(t *testing.T) {
	fixture(t, "fixture.runpath")
	relative := fixture(t, "fixture.relative")
	dir, interp := filepath.Dir(relative), realELF(t, relative).Interp
	mid := filepath.Join(dir, "mid")
	for _, c := range []struct {
		name string
		cmd  Command
		want int // files beside the executable
	}{
		{"relative", Command{Dir: dir, Args: []string{"./fixture.relative"}, Env: []string{"LD_LIBRARY_PATH=mid"}}, 6},
		{"empty element", Command{Dir: mid, Args: []string{"../fixture.runpath"}, Env: []string{"LD_LIBRARY_PATH=/none:"}}, 5},
		{"preloaded", Command{Dir: mid, Args: []string{"../fixture.runpath"}, Env: []string{"LD_PRELOAD=../one.so ./libslash.so"}}, 7},
		{"by its linker", Command{Dir: dir, Args: []string{interp, "--library-path", "mid", "./fixture.relative"}}, 6},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, say := startHeld(t, c.cmd)
			p := attach(t, s.PID)
			search, err := p.LibrarySearch()
			if err != nil {
				t.Fatal(err)
			}
			search.Read = readELF
			found, err := search.ResolveLibraries(t.Context(), p.Exe)
			if err != nil {
				t.Fatal(err)
			}
			var want, got []string
			for _, lib := range found {
				if lib.Err != nil {
					t.Errorf("%+v", lib)
				}
				if lib.Path != p.Exe {
					want = append(want, lib.Path)
				}
			}
			say()
			all, _ := modules(t, p)
			for _, m := range all {
				if !m.Main {
					got = append(got, m.Path)
				}
			}
			slices.Sort(want)
			slices.Sort(got)
			if diff := cmp.Diff(want, got); diff != "" || len(got) != c.want {
				t.Errorf("%d files, want %d; foretold (-), loaded (+):\n%s", len(got), c.want, diff)
			}
		})
	}
}

// startHeld holds a fixture. The function lets it run and returns when it is
// ready.
func startHeld(t *testing.T, c Command) (*Spawned, func()) {
	t.Helper()
	in, keep, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if c.Env == nil {
		c.Env = []string{}
	}
	c.Files = []*os.File{in, write, os.Stderr}
	s, err := c.Start()
	in.Close()
	write.Close()
	t.Cleanup(func() {
		keep.Close()
		out.Close()
		if s != nil {
			_ = s.Kill()
			_, _ = s.Wait()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return s, func() {
		t.Helper()
		if err := s.Release(); err != nil {
			t.Fatal(err)
		}
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if strings.HasPrefix(lines.Text(), "ready ") {
				return
			}
		}
		t.Fatal("the program ended before it was ready")
	}
}

func realELF(t *testing.T, path string) Dynamic {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d, err := readELF(f)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// A working directory that has no path in the root is not looked in under
// another one's path.
func TestSearchOutsideWorkingDirectory(t *testing.T) {
	s := Search{
		Root: tree(t, map[string]string{"bin/x": "need=a", "l/a": ""}), Dir: tree(t, map[string]string{"l/a": ""}),
		LibraryPath: "l", Read: readText, LevelDirs: []string{},
	}
	found, err := s.ResolveLibraries(t.Context(), "/bin/x")
	if err != nil || len(found) != 1 || found[0].Path != "" {
		t.Errorf("%+v, %v; want that a is not found", found, err)
	}
	s.Dir = s.Root // which is the program's /
	found, err = s.ResolveLibraries(t.Context(), "/bin/x")
	if err != nil || len(found) != 1 || found[0].Path != "/l/a" {
		t.Errorf("%+v, %v; want /l/a", found, err)
	}
}

// Directories that lie thousands of levels deep are gone through once, not for
// each library: the test would take an hour.
func TestSearchIsLinear(t *testing.T) {
	if testing.Short() {
		t.Skip("short: thousands of files, and the kernel has no part in the bounds")
	}
	files := map[string]string{"lib/last": ""}
	var needs strings.Builder
	for i := range MaxLibraries - 1 {
		fmt.Fprintf(&needs, "need=a%d ", i)
	}
	files["bin/x"] = needs.String() + "need=last"
	s := Search{Root: tree(t, files), Read: readText, LevelDirs: []string{"v3", "v2"}}
	const levels = 2000
	makeDeep(t, s.Root, levels)
	deep := strings.Repeat("/a", levels)
	for i := range 20 {
		s.LibraryPath += deep + strings.Repeat("/", i) + ":" // another name each time
	}
	found, err := s.ResolveLibraries(t.Context(), "/bin/x")
	if err != nil || len(found) != MaxLibraries || found[MaxLibraries-1].Path != "/lib/last" {
		t.Errorf("%d libraries, %v; want %d with the last one found", len(found), err, MaxLibraries)
	}
}

// makeDeep makes directories in each other, whose path is too long to be named
// as a whole from outside.
func makeDeep(t *testing.T, root string, levels int) {
	t.Helper()
	at, err := os.OpenRoot(root)
	if err != nil {
		t.Fatal(err)
	}
	for range levels {
		if err := at.Mkdir("a", 0o755); err != nil {
			t.Fatal(err)
		}
		next, err := at.OpenRoot("a")
		at.Close()
		if err != nil {
			t.Fatal(err)
		}
		at = next
	}
	at.Close()
}

// A program that names very many libraries and directories that there are does
// not keep the tracer looking for them.
func TestSearchIsBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("short: thousands of files, and the kernel has no part in the bounds")
	}
	const dirs = 700
	files := map[string]string{"lib64/ld.so": "soname=ld.so", "bin/dirs": ""}
	var needs, many strings.Builder
	for i := range MaxLibraries {
		fmt.Fprintf(&needs, "need=a%d ", i)
	}
	for i := range maxDirs + 1 {
		fmt.Fprintf(&many, "/lib/d%d:", i)
		files[fmt.Sprintf("lib/d%d/f", i)] = ""
	}
	files["bin/many"] = "interp=/lib64/ld.so " + needs.String()
	s := Search{Root: tree(t, files), Read: readText, LevelDirs: []string{}}
	for i := range dirs {
		s.LibraryPath += fmt.Sprintf("/lib/d%d:", i)
	}
	found, err := s.ResolveLibraries(t.Context(), "/bin/many")
	if !errors.Is(err, ErrTruncated) || len(found) > maxLookups/dirs+2 {
		t.Errorf("%d libraries looked for, %v", len(found), err)
	}
	s.LibraryPath = many.String()
	if _, err := s.ResolveLibraries(t.Context(), "/bin/dirs"); !errors.Is(err, ErrTruncated) {
		t.Errorf("more directories than are remembered: %v", err)
	}
}

// A search ends with its context although a file system does not answer. What
// was found before is returned, and the error says where it was.
func TestSearchGivesUp(t *testing.T) {
	for _, op := range []hangfs.Op{hangfs.Lookup, hangfs.Open, hangfs.Read, hangfs.All} {
		t.Run(string(op), func(t *testing.T) {
			var (
				fs     *hangfs.FS
				lib    string
				found  []Library
				err    error
				gaveUp *SearchTimeError
			)
			// Another program may ask the file system first: then the search had not begun.
			for range 10 {
				fs = hangfs.Mount(t, map[string][]byte{"l/b": []byte(strings.Repeat(" ", 10000))})
				var s Search
				s, lib = hangingSearch(t, fs)
				fs.Hang(op)
				ctx, cancel := context.WithCancel(t.Context())
				go func() {
					fs.Await()
					cancel()
				}()
				found, err = s.ResolveLibraries(ctx, filepath.Join(lib, "x"))
				if !errors.As(err, &gaveUp) || strings.HasPrefix(gaveUp.At, fs.Dir) {
					break
				}
				fs.Answer()
				settle()
			}
			if !errors.As(err, &gaveUp) || !errors.Is(err, context.Canceled) || !strings.HasPrefix(gaveUp.At, fs.Dir) {
				t.Errorf("%v; want a SearchTimeError at a path of %s, and that it was cancelled", err, fs.Dir)
			}
			if op != hangfs.Lookup && op != hangfs.All && (len(found) != 1 || found[0].Path != filepath.Join(lib, "a")) {
				t.Errorf("found %+v, want the library before", found)
			}
			if await.Left() != 1 {
				t.Errorf("%d searches left behind, want 1", await.Left())
			}
			fs.Answer()
			settle()
		})
	}
}

func TestSearchDeadline(t *testing.T) {
	fs := hangfs.Mount(t, map[string][]byte{"l/b": {}})
	s, lib := hangingSearch(t, fs)
	fs.Hang(hangfs.All)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	var gaveUp *SearchTimeError
	if _, err := s.ResolveLibraries(ctx, filepath.Join(lib, "x")); !errors.As(err, &gaveUp) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v; want a SearchTimeError for the deadline", err)
	}
	fs.Answer()
	settle()
}

// hangingSearch looks for libraries a, b and c of the program x, of which b is
// on a file system that can hang. It returns the folder of the others.
func hangingSearch(t *testing.T, fs *hangfs.FS) (s Search, lib string) {
	lib = tree(t, map[string]string{"x": "need=a need=b need=c", "a": "", "c": ""})
	return Search{LibraryPath: lib + ":" + filepath.Join(fs.Dir, "l"), Read: readText, LevelDirs: []string{}}, lib
}

// settle waits until searches that were left behind have come back.
func settle() {
	for await.Left() > 0 {
		runtime.Gosched()
	}
}

// Searches that do not come back are given up in time, and at some point no
// more are begun. Each leaves nothing open once it does come back.
func TestSearchesThatDoNotComeBack(t *testing.T) {
	fs := hangfs.Mount(t, map[string][]byte{"l/b": {}})
	s, lib := hangingSearch(t, fs)
	exe, before := filepath.Join(lib, "x"), openFiles(t)
	fs.Hang(hangfs.Open)
	var gaveUp *SearchTimeError
	for range await.Max {
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			fs.Await()
			cancel()
		}()
		if _, err := s.ResolveLibraries(ctx, exe); !errors.As(err, &gaveUp) {
			t.Errorf("%v; want a SearchTimeError", err)
		}
	}
	if _, err := s.ResolveLibraries(t.Context(), exe); await.Left() != await.Max || !errors.As(err, &gaveUp) || !errors.Is(err, await.ErrBusy) {
		t.Errorf("with %d searches left behind: %v; want %d, and ErrBusy", await.Left(), err, await.Max)
	}
	fs.Answer()
	settle()
	if found, err := s.ResolveLibraries(t.Context(), exe); err != nil || len(found) != 3 {
		t.Errorf("after all have come back: %+v, %v", found, err)
	}
	if after := openFiles(t); after != before {
		t.Errorf("%d open files, %d before", after, before)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func init() {
	// Reads a file through OpenRegular.
	helpers["read"] = func() error {
		f, err := OpenRegular(os.Args[1])
		if err != nil {
			return err
		}
		defer f.Close()
		data, err := io.ReadAll(f)
		if err != nil {
			return err
		}
		return answer(string(data))
	}
}

// Go's poller must not take a target's file in: it asks the file system about
// it, and while that does not answer the whole program stands still.
func TestOpenRegularStaysOutOfPoller(t *testing.T) {
	fs := hangfs.Mount(t, map[string][]byte{"a": []byte("contents")})
	defer fs.Answer()
	fs.Hang(hangfs.Poll)
	stuck := time.AfterFunc(20*time.Second, func() {
		t.Error("the file system was asked")
		fs.Answer()
	})
	defer stuck.Stop()
	var got string
	if ask(t, helper("read", filepath.Join(fs.Dir, "a")), &got); got != "contents" {
		t.Errorf("read %q", got)
	}
}
