// SPDX-License-Identifier: Apache-2.0

package file

import (
	"errors"
	"os"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// The directory that was checked is the one that is written to, though its name
// stands for another by then.
func TestDirectorySwapped(t *testing.T) {
	s := newScene(t)
	s.mkdir("d", os.Geteuid(), 0o755)
	p, err := find(s.path("d/precious"), invoker(os.Geteuid(), os.Getenv))
	s.try(err)
	defer p.close()
	s.try(os.Rename(s.path("d"), s.path("moved")))
	s.link(s.victim, "d")
	f, err := p.open(t.Context(), silent)
	s.try(err)
	_, err = f.Write([]byte("traced"))
	s.try(errors.Join(err, f.Close()))
	if text, err := os.ReadFile(s.path("moved/precious")); err != nil || string(text) != "traced" {
		t.Errorf("the file in the directory that was checked holds %q (%v)", text, err)
	}
	s.unharmed()
}

// The file that was checked is the one that is opened.
func TestFileSwapped(t *testing.T) {
	for name, plant := range map[string]func(s *scene){
		"symbolic link": func(s *scene) { s.link(s.victim+"/precious", "d/out") },
		"hard link":     func(s *scene) { s.hardLink(s.victim+"/precious", "d/out") },
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.mkdir("d", os.Geteuid(), 0o777)
			s.file("earlier", os.Geteuid(), "d/out")
			p, err := find(s.path("d/out"), invoker(os.Geteuid(), os.Getenv))
			s.try(err)
			defer p.close()
			s.try(os.Rename(s.path("d/out"), s.path("d/moved")))
			plant(s)
			f, err := p.open(t.Context(), silent)
			s.try(err)
			_, err = f.Write([]byte("traced"))
			s.try(errors.Join(err, f.Close()))
			if text, err := os.ReadFile(s.path("d/moved")); err != nil || string(text) != "traced" {
				t.Errorf("the file that was checked holds %q (%v)", text, err)
			}
			s.unharmed()
		})
	}
}

// What appears under a new file's name after the look is not written to.
func TestFileAppears(t *testing.T) {
	s := newScene(t)
	s.mkdir("d", os.Geteuid(), 0o777)
	p, err := find(s.path("d/out"), invoker(os.Geteuid(), os.Getenv))
	s.try(err)
	defer p.close()
	s.link(s.victim+"/new", "d/out")
	if _, err := p.open(t.Context(), silent); !errors.Is(err, errAppeared) {
		t.Errorf("error %v", err)
	}
	s.unharmed()
}

// A new file that is given up is removed where it is, and only while it has its
// name.
func TestAbandonSwapped(t *testing.T) {
	for name, swap := range map[string]func(s *scene){
		"file": func(s *scene) {
			s.try(os.Remove(s.path("d/precious")))
			s.hardLink(s.victim+"/precious", "d/precious")
		},
		"directory": func(s *scene) {
			s.try(os.Rename(s.path("d"), s.path("moved")))
			s.link(s.victim, "d")
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.mkdir("d", os.Geteuid(), 0o777)
			f, err := Create(t.Context(), s.path("d/precious"), silent)
			s.try(err)
			swap(s)
			s.try(f.Abandon())
			if name == "file" {
				if _, err := os.Lstat(s.path("d/precious")); err != nil {
					t.Errorf("somebody else's file was removed: %v", err)
				}
			} else if _, err := os.Lstat(s.path("moved/precious")); err == nil {
				t.Error("an empty file was left behind")
			}
			s.unharmed()
		})
	}
}

// Somebody swaps a directory and a file for links all the time, by one system
// call each: nothing is ever written through one.
func TestSwappedAllTheTime(t *testing.T) {
	s := newScene(t)
	s.mkdir("d", os.Geteuid(), 0o777)
	s.mkdir("d/e", os.Geteuid(), 0o777)
	s.file("earlier", os.Geteuid(), "d/out")
	s.link(s.victim, "d/e2")
	s.link(s.victim+"/precious", "d/out2")
	stop := make(chan struct{})
	var swapping sync.WaitGroup
	swapping.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			for _, name := range []string{"d/e", "d/out"} {
				err := unix.Renameat2(unix.AT_FDCWD, s.path(name), unix.AT_FDCWD, s.path(name+"2"), unix.RENAME_EXCHANGE)
				if err != nil {
					t.Errorf("swap: %v", err)
					return
				}
			}
		}
	})
	written, refused := 0, 0
	for i := 0; i < 100_000 && (written < 200 || refused < 200); i++ {
		for _, name := range []string{"d/e/precious", "d/out"} {
			switch err := write(t, s.path(name)); {
			case err == nil:
				written++
			case errors.Is(err, errForeignLink), errors.Is(err, unix.ENOTDIR), errors.Is(err, errAppeared):
				refused++
			default:
				t.Fatal(err)
			}
		}
	}
	close(stop)
	swapping.Wait()
	if written == 0 || refused == 0 {
		t.Errorf("%d times written, %d times refused: want some of each", written, refused)
	}
	s.unharmed()
}
