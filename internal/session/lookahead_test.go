// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/fixture/hangfs"
	"github.com/phasetrace/phasetrace/internal/process"
	"github.com/phasetrace/phasetrace/internal/testenv"
)

// The constructors of libraries that a program names from its working directory
// are traced: they are found before the program runs its first instruction.
func TestLibrariesFromWorkingDirectory(t *testing.T) {
	testenv.BPF(t)
	library, program := fixture.Build(t, "libinit.c", asLibrary...), fixture.Build(t, "dlopen.c", "-ldl")
	dir, name := filepath.Split(library)
	for _, c := range []struct {
		name string
		env  string
		args []string
	}{
		{"relative path", "LD_PRELOAD=./" + name, nil},
		{"relative folder", "LD_PRELOAD=" + name + " LD_LIBRARY_PATH=../" + filepath.Base(dir), nil},
		{"empty element", "LD_PRELOAD=" + name + " LD_LIBRARY_PATH=:/none", nil},
		{"argument of the linker", "", []string{"--preload", "./" + name}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var args []string
			if c.args != nil {
				args = append([]string{systemLinker(t)}, c.args...)
			}
			spawned, order := spawnTalking(t, process.Command{
				Dir: dir, Args: append(args, program, library), Env: append(os.Environ(), strings.Fields(c.env)...),
			})
			tr := attachTargets(t, []Target{{Spawned: spawned}}, Config{})
			order("", "ready")
			order("phases 2", "")
			order("end", "")
			tr.wait()
			if files := scopesByFile(tr.boundaries); files["libinit.so"] != 1 || files["dlopen"] != 2 {
				t.Errorf("phases by file %v; want 1 of the constructor and 2 of the program", files)
			}
		})
	}
}

// A file system that does not answer does not keep a session from ending, nor
// for long from starting.
func TestLibrariesOnHangingFileSystem(t *testing.T) {
	testenv.BPF(t)
	program := fixture.Build(t, "phases.c")
	t.Run("run, interrupted", func(t *testing.T) {
		fs := hangfs.Mount(t, map[string][]byte{"l/x": {}})
		defer fs.Answer() // to the program, which cannot be killed before
		fs.Hang(hangfs.All)
		env := append(os.Environ(), "LD_LIBRARY_PATH="+filepath.Join(fs.Dir, "l"))
		spawned, _ := spawnTalking(t, process.Command{Args: []string{program, "1", "1", "1", "0"}, Env: env})
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			fs.Await()
			cancel()
		}()
		_, err := (&tracing{}).run(ctx, Config{Sink: &collector{}, SessionID: "test", Message: func(m string) { t.Log(m) }, Without: testenv.Without(t)}, []Target{{Spawned: spawned}})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("the session ended with %v, want that it was interrupted", err)
		}
	})
	t.Run("exec", func(t *testing.T) {
		fs := hangfs.Mount(t, map[string][]byte{"l/x": {}})
		defer fs.Answer()
		script := "echo ready; read go; LD_LIBRARY_PATH=" + filepath.Join(fs.Dir, "l") + " exec " + program + " 1 1 5 0"
		p := fixture.StartCmd(t, exec.Command("/bin/sh", "-c", script))
		p.Expect("ready")
		told := newMessages()
		tr := attach(t, []int{p.Pid()}, Config{Follow: true, Message: told.add})
		fs.Hang(hangfs.All)
		p.WriteLine("go")
		t.Log(told.await(t, "does that file system answer?", 1))
		fs.Answer()
		p.Expect("ready")
		p.WriteLine("go")
		p.ReadAll()
		p.WaitOK()
		tr.wait()
		if got := scopesByFile(tr.boundaries)["phases"]; got != 1*5 {
			t.Errorf("%d phases, want 5", got)
		}
	})
}
