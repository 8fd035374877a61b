// SPDX-License-Identifier: Apache-2.0

package loader_test

import (
	"os"
	"slices"
	"testing"

	"github.com/phasetrace/phasetrace/internal/event"
	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/testenv"
	"github.com/phasetrace/phasetrace/internal/usdt"
)

// The names of libraries come with the change, also of one that is gone by the
// time it is read. Loading again what is loaded, and unloading, name none.
func TestLibrariesAreNamed(t *testing.T) {
	testenv.BPF(t)
	program, library := fixture.Build(t, "dlopen.c", "-ldl"), fixture.Build(t, "libphase.c", "-shared", "-fPIC")
	linker, _ := linkerOf(t, program)
	f, err := os.Open(linker)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	found, err := usdt.FindFunctions(f, st.Size(), "_dl_debug_state", "_r_debug")
	if err != nil {
		t.Fatal(err)
	}
	hook, list := found.Addresses["_dl_debug_state"], found.Addresses["_r_debug"]
	tr, err := loader.Open(loader.Options{Without: testenv.Without(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	p := fixture.Start(t, program, library)
	p.Expect("ready")
	if err := tr.AddTarget(p.Pid()); err != nil {
		t.Fatal(err)
	}
	if _, err := tr.WatchLibraries(p.Pid(), linker, found.Named["_dl_debug_state"], loader.ObjectList{Known: true, Distance: int64(list - hook)}); err != nil {
		t.Fatal(err)
	}
	for _, order := range []string{"load", "unload", "load", "load", "unload"} {
		p.WriteLine(order)
		p.ReadLine()
	}
	p.CloseStdin()
	p.WaitOK()
	var added [][]string // by change
	var names []string
	if err := tr.Detach(nil); err != nil {
		t.Fatal(err)
	}
	if err := tr.Drain(func(ev event.Event) {
		switch ev, ok := ev.(*event.Library); {
		case !ok:
		case len(ev.Name) > 0:
			names = append(names, string(ev.Name))
		default:
			if ev.Unnamed {
				t.Error("libraries were added without a name")
			}
			added, names = append(added, names), nil
		}
	}); err != nil {
		t.Fatal(err)
	}
	// Each load and unload tells before and after. At the first change nobody knows
	// what was there before.
	if len(added) != 6 || !slices.Contains(added[1], library) || !slices.Equal(added[5], []string{library}) {
		t.Fatalf("by change, these were added: %q", added)
	}
	for i := range 5 {
		if i != 1 && len(added[i]) > 0 {
			t.Errorf("change %d: %q are told of as added", i, added[i])
		}
	}
}
