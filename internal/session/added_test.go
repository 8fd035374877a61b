// SPDX-License-Identifier: Apache-2.0

package session

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/fixture/hangfs"
	"github.com/phasetrace/phasetrace/internal/stream"
	"github.com/phasetrace/phasetrace/internal/testenv"
)

// noteOf returns how often a summary notes something.
func noteOf(sum *stream.Summary, what string) (n uint64) {
	for _, note := range sum.Notes {
		if strings.HasPrefix(note.What, what) {
			n += note.Count
		}
	}
	return n
}

const (
	passedNote  = "libraries that were gone before they could be looked at"
	passedTopic = "name it"
)

func adviseLibrary(topic Topic) string {
	if topic == TopicLibrary {
		return passedTopic
	}
	return ""
}

// hideFrom keeps the watcher from looking while do runs.
func hideFrom(tr *tracing, do func()) {
	w := tr.session.watcher
	w.mu.Lock()
	defer w.mu.Unlock()
	do()
}

// opener builds the program that loads a library when it is told to.
func opener(t *testing.T, cc string) string {
	t.Helper()
	if cc == "" {
		return fixture.Build(t, "dlopen.c", "-ldl")
	}
	return withCompiler(t, cc, "dlopen.c", "-ldl")
}

// openerTest is a program of one compiler's that loads a library when it is told to,
// and its session.
type openerTest struct {
	*fixture.Proc
	t       *testing.T
	cc      string
	library string
	told    *messages
	tr      *tracing
}

// order has the program do something and waits until it is done.
func (o *openerTest) order(line string) {
	o.t.Helper()
	o.WriteLine(line)
	o.ReadLine()
}

// withOpeners runs a test with the programs of each compiler, followed or not.
func withOpeners(t *testing.T, test func(*testing.T, *openerTest)) {
	for _, follow := range []bool{false, true} {
		for _, cc := range []string{"", "musl-gcc"} {
			t.Run(fmt.Sprintf("follow=%v %s", follow, cc), func(t *testing.T) {
				o := &openerTest{t: t, cc: cc, library: fixture.Build(t, "libphase.c", asLibrary...), told: newMessages()}
				o.Proc = fixture.Start(t, opener(t, cc), o.library)
				o.Expect("ready")
				o.tr = attach(t, []int{o.Pid()}, Config{Follow: follow, Message: o.told.add, Advice: adviseLibrary})
				test(t, o)
			})
		}
	}
}

// A library that is loaded, used and unloaded before anybody looks is named, with
// the remedy, and is traced the next time it is loaded.
func TestLibraryGoneBeforeLook(t *testing.T) {
	withOpeners(t, func(t *testing.T, o *openerTest) {
		want := uint64(1)
		if o.cc == "" {
			hideFrom(o.tr, func() { o.order("load"); o.order("library 5"); o.order("unload") })
			said := o.told.await(t, o.library+" was loaded and unloaded before it could be looked at", 1)
			if !strings.HasSuffix(said, "; "+passedTopic) {
				t.Errorf("said %q, without the remedy", said)
			}
			o.order("load")
		} else { // musl never unloads
			want = 0
			o.order("load")
			o.told.await(t, lateLibrary, 1)
		}
		o.order("library 3")
		o.CloseStdin()
		o.WaitOK()
		sum := o.tr.wait()
		phases := scopesByFile(o.tr.boundaries)[filepath.Base(o.library)]
		if n := noteOf(sum, passedNote); n != want || phases != 3 {
			t.Errorf("%d libraries are noted, %d phases traced; want %d and 3: %v", n, phases, want, sum.Notes)
		}
	})
}

// The same when the process ends before anybody looks.
func TestEndsWithLibrary(t *testing.T) {
	withOpeners(t, func(t *testing.T, o *openerTest) {
		hideFrom(o.tr, func() {
			o.order("load")
			o.order("library 5")
			o.CloseStdin()
			o.WaitOK()
		})
		sum := o.tr.wait()
		said := o.told.await(t, o.library+" was loaded by a process that ended before it could be looked at", 1)
		if n := noteOf(sum, passedNote); n != 1 || !strings.HasSuffix(said, "; "+passedTopic) {
			t.Errorf("%d libraries are noted, said %q", n, said)
		}
	})
}

// A library that is gone from the file system too is told of by name, and one
// without markers is not told of at all.
func TestLibraryGoneForGood(t *testing.T) {
	library, plain := fixture.Build(t, "libphase.c", asLibrary...), fixture.Build(t, "libphase.c", append(asLibrary, "-DPHASETRACE_DISABLE")...)
	for _, c := range []struct {
		library string
		remove  bool
		want    int
	}{{library, true, 1}, {plain, false, 0}} {
		p := fixture.Start(t, fixture.Build(t, "dlopen.c", "-ldl"), c.library)
		p.Expect("ready")
		told := newMessages()
		tr := attach(t, []int{p.Pid()}, Config{Message: told.add, Advice: adviseLibrary})
		hideFrom(tr, func() {
			for _, line := range []string{"load", "unload"} {
				p.WriteLine(line)
				p.ReadLine()
			}
			if c.remove {
				if err := os.Remove(c.library); err != nil {
					t.Fatal(err)
				}
			}
		})
		p.CloseStdin()
		p.WaitOK()
		sum := tr.wait()
		n := 0
		for _, m := range told.all {
			if strings.Contains(m, filepath.Base(c.library)) {
				t.Log(m)
				n++
			}
		}
		if n != c.want || int(noteOf(sum, "files that could not be read")) != c.want || noteOf(sum, passedNote) != 0 {
			t.Errorf("%s: told of %d times, notes %v; want %d; said %q", c.library, n, sum.Notes, c.want, told.all)
		}
	}
}

// A look that takes too long is told, and made again: what a file system did not
// answer about in time is traced once it does.
func TestSlowLookIsMadeAgain(t *testing.T) {
	testenv.BPF(t)
	data, err := os.ReadFile(fixture.Build(t, "libphase.c", asLibrary...))
	if err != nil {
		t.Fatal(err)
	}
	for _, follow := range []bool{false, true} {
		t.Run(fmt.Sprintf("follow=%v", follow), func(t *testing.T) {
			fs := hangfs.Mount(t, map[string][]byte{"libphase.so": data})
			defer fs.Answer()
			p := fixture.Start(t, fixture.Build(t, "dlopen.c", "-ldl"), filepath.Join(fs.Dir, "libphase.so"))
			p.Expect("ready")
			told := newMessages()
			tr := attach(t, []int{p.Pid()}, Config{Follow: follow, Message: told.add})
			hideFrom(tr, func() {
				p.WriteLine("load")
				p.ReadLine()
				fs.Hang(hangfs.All)
			})
			told.await(t, "did not answer in time: those in its files are not traced; looking again", 1)
			fs.Answer()
			told.await(t, lateLibrary, 1)
			p.WriteLine("library 5")
			p.ReadLine()
			p.CloseStdin()
			p.WaitOK()
			sum := tr.wait()
			if n := scopesByFile(tr.boundaries)["libphase.so"]; n != 5 || noteOf(sum, slowLooksNote) == 0 {
				t.Errorf("%d phases, want 5; notes %v", n, sum.Notes)
			}
		})
	}
}
