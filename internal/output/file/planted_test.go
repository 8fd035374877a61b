// SPDX-License-Identifier: Apache-2.0

package file

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/phasetrace/phasetrace/internal/testenv"
)

// Users of the tests: one who is nobody's friend, and one who called sudo.
const (
	attacker = 65534
	sudoer   = 12345
)

// scene is a private directory in which a test lays its trap, and another with
// what must stay as it is.
type scene struct {
	*testing.T
	dir, victim string
}

func newScene(t *testing.T) *scene {
	s := &scene{T: t, dir: t.TempDir(), victim: t.TempDir()}
	s.own(os.Geteuid(), 0o755, s.dir)
	s.own(os.Geteuid(), 0o755, s.victim)
	s.file("precious", os.Geteuid(), s.victim+"/precious")
	return s
}

func (s *scene) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(s.dir, name)
}

func (s *scene) try(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// own gives a file away and sets its mode.
func (s *scene) own(uid int, mode uint32, path string) {
	s.Helper()
	if uid != os.Geteuid() {
		s.try(os.Lchown(path, uid, -1))
	}
	s.try(unix.Chmod(path, mode))
}

func (s *scene) mkdir(name string, uid int, mode uint32) {
	s.Helper()
	s.try(os.Mkdir(s.path(name), 0o700))
	s.own(uid, mode, s.path(name))
}

func (s *scene) file(text string, uid int, name string) {
	s.Helper()
	s.try(os.WriteFile(s.path(name), []byte(text), 0o600))
	s.own(uid, 0o600, s.path(name))
}

// link makes a symbolic link of the attacker's, who put it where it is.
func (s *scene) link(target, name string) {
	s.Helper()
	s.try(os.Symlink(target, s.path(name)))
	if os.Geteuid() == 0 {
		s.try(os.Lchown(s.path(name), attacker, attacker))
	}
}

func (s *scene) hardLink(target, name string) {
	s.Helper()
	s.try(os.Link(s.path(target), s.path(name)))
}

// unharmed wants the victim's directory as it was.
func (s *scene) unharmed() {
	s.Helper()
	entries, err := os.ReadDir(s.victim)
	s.try(err)
	if len(entries) != 1 {
		s.Errorf("the victim's directory holds %v", entries)
	}
	text, err := os.ReadFile(s.victim + "/precious")
	if err != nil || string(text) != "precious" {
		s.Errorf("the victim's file holds %q (%v)", text, err)
	}
}

// write writes a session to a path, from Create to Close.
func write(t *testing.T, path string) error {
	f, err := Create(t.Context(), path, silent)
	if err != nil {
		return err
	}
	if _, err := f.Write([]byte("traced")); err != nil {
		t.Error(err)
	}
	return f.Close()
}

// Whatever another user has planted is refused, and the error names it, the
// directory it lies in, and what to do.
func TestPlanted(t *testing.T) {
	for _, test := range []struct {
		name string
		root bool // only root can lay this trap
		lay  func(*scene)
		path string
		want error
		says string
	}{
		{"link in a shared directory", false, func(s *scene) {
			s.mkdir("d", os.Geteuid(), 0o1777)
			s.link(s.victim+"/precious", "d/out")
		}, "d/out", errForeignLink, "d, which everybody can write to: name a file in a directory that only you"},
		{"link to nothing in a shared directory", false, func(s *scene) {
			s.mkdir("d", os.Geteuid(), 0o1777)
			s.link(s.victim+"/new", "d/out")
		}, "d/out", errForeignLink, "d/out is a symbolic link"},
		{"link in a group's directory", false, func(s *scene) {
			s.mkdir("d", os.Geteuid(), 0o775)
			s.link(s.victim+"/precious", "d/out")
		}, "d/out", errForeignLink, "d, which group "},
		{"link in another user's directory", true, func(s *scene) {
			s.mkdir("d", attacker, 0o755)
			s.link(s.victim+"/precious", "d/out")
		}, "d/out", errForeignLink, "d, which belongs to user 65534"},
		{"link to nothing in another user's directory", true, func(s *scene) {
			s.mkdir("d", attacker, 0o755)
			s.link(s.victim+"/new", "d/out")
		}, "d/out", errForeignLink, "d/out is a symbolic link"},
		{"link below another user's directory", true, func(s *scene) {
			s.mkdir("d", attacker, 0o755)
			s.mkdir("d/e", os.Geteuid(), 0o755)
			s.link(s.victim+"/precious", "d/e/out")
		}, "d/e/out", errForeignLink, "in or below "},
		{"link below a group's directory", false, func(s *scene) {
			s.mkdir("d", os.Geteuid(), 0o775)
			s.mkdir("d/e", os.Geteuid(), 0o755)
			s.link(s.victim+"/precious", "d/e/out")
		}, "d/e/out", errForeignLink, "d, which group "},
		{"linked directory in a shared one", false, func(s *scene) {
			s.mkdir("d", os.Geteuid(), 0o1777)
			s.link(s.victim, "d/e")
		}, "d/e/new", errForeignLink, "d/e is a symbolic link"},
		{"linked directory with a file", false, func(s *scene) {
			s.mkdir("d", os.Geteuid(), 0o1777)
			s.link(s.victim, "d/e")
		}, "d/e/precious", errForeignLink, "d/e is a symbolic link"},
		{"linked directory in another user's", true, func(s *scene) {
			s.mkdir("d", attacker, 0o755)
			s.link(s.victim, "d/e")
		}, "d/e/new", errForeignLink, "d/e is a symbolic link"},
		{"up from a linked directory", false, func(s *scene) {
			s.mkdir("d", os.Geteuid(), 0o777)
			s.link(s.victim, "d/e")
		}, "d/e/../" + "out", errForeignLink, "d/e is a symbolic link"},
		{"up into another user's directory", true, func(s *scene) {
			s.mkdir("d", attacker, 0o755)
			s.mkdir("d/e", os.Geteuid(), 0o755)
			s.link(s.victim+"/precious", "d/out")
		}, "d/e/../out", errForeignLink, "d/out is a symbolic link"},
		{"own link to a planted one", false, func(s *scene) {
			s.mkdir("d", os.Geteuid(), 0o1777)
			s.link(s.victim+"/precious", "d/planted")
			s.try(os.Symlink("d/planted", s.path("out")))
		}, "out", errForeignLink, "d/planted is a symbolic link"},
		{"another name of a file, in a shared directory", false, func(s *scene) {
			s.mkdir("d", os.Geteuid(), 0o1777)
			s.hardLink(s.victim+"/precious", "d/out")
		}, "d/out", errHardLink, "d, which everybody can write to"},
		{"another name of a file, in a group's directory", false, func(s *scene) {
			s.mkdir("d", os.Geteuid(), 0o770)
			s.hardLink(s.victim+"/precious", "d/out")
		}, "d/out", errHardLink, "d, which group "},
		{"another name of a file, in another user's directory", true, func(s *scene) {
			s.mkdir("d", attacker, 0o755)
			s.hardLink(s.victim+"/precious", "d/out")
		}, "d/out", errHardLink, "d, which belongs to user 65534"},
		{"file of another user in a shared directory", true, func(s *scene) {
			s.mkdir("d", os.Geteuid(), 0o1777)
			s.file("bait", attacker, "d/out")
		}, "d/out", errForeignFile, "d/out is another user's file (user 65534), in or below "},
		{"file of another user in their directory", true, func(s *scene) {
			s.mkdir("d", attacker, 0o755)
			s.file("bait", attacker, "d/out")
		}, "d/out", errForeignFile, "d, which belongs to user 65534"},
		{"link of the kernel's", false, func(s *scene) {
			s.try(os.Symlink("/proc/self/cwd", s.path("d")))
		}, "d/out", errKernelLink, "cwd is a link that only the kernel can follow: name the file itself"},
	} {
		t.Run(test.name, func(t *testing.T) {
			testenv.Require(t, !test.root || os.Geteuid() == 0, "only root can lay this trap")
			s := newScene(t)
			test.lay(s)
			err := write(t, s.path("")+"/"+test.path)
			if !errors.Is(err, test.want) || err != nil && !strings.Contains(err.Error(), test.says) {
				t.Errorf("error %v, want one that says %q", err, test.says)
			}
			s.unharmed()
		})
	}
}

// In the working directory, and in one below another user's, the same holds.
func TestPlantedBelowWorkingDirectory(t *testing.T) {
	testenv.Require(t, os.Geteuid() == 0, "only root can make another user's directory")
	s := newScene(t)
	s.mkdir("d", attacker, 0o755)
	s.mkdir("d/e", os.Geteuid(), 0o755)
	for _, dir := range []string{"d", "d/e"} {
		s.link(s.victim+"/precious", dir+"/out")
		t.Chdir(s.path(dir))
		if err := write(t, "out"); !errors.Is(err, errForeignLink) || !strings.Contains(err.Error(), s.path(dir)+"/out is") {
			t.Errorf("in %s: error %v", dir, err)
		}
		s.unharmed()
	}
	t.Chdir(s.dir)
	if err := write(t, "d/e/../../mine"); err != nil {
		t.Error(err)
	}
}

// What only trusted users can have put there is used, and so is a new name
// anywhere.
func TestNotPlanted(t *testing.T) {
	for _, test := range []struct {
		name string
		root bool
		lay  func(*scene)
		path string
		file string // what must hold the session then
	}{
		{"new file in a shared directory", false, func(s *scene) { s.mkdir("d", os.Geteuid(), 0o1777) }, "d/out", "d/out"},
		{"new file in a group's directory", false, func(s *scene) { s.mkdir("d", os.Geteuid(), 0o770) }, "d/out", "d/out"},
		{"new file in another user's directory", true, func(s *scene) { s.mkdir("d", attacker, 0o755) }, "d/out", "d/out"},
		{"new file below another user's directory", true, func(s *scene) {
			s.mkdir("d", attacker, 0o755)
			s.mkdir("d/e", attacker, 0o755)
		}, "d//./e/../e/out", "d/e/out"},
		{"own file in a shared directory", false, func(s *scene) {
			s.mkdir("d", os.Geteuid(), 0o1777)
			s.file("earlier", os.Geteuid(), "d/out")
		}, "d/out", "d/out"},
		{"own link in an own directory in a shared one", false, func(s *scene) {
			s.mkdir("d", os.Geteuid(), 0o1777)
			s.mkdir("d/mine", os.Geteuid(), 0o700)
			s.try(os.Symlink("real", s.path("d/mine/out")))
		}, "d/mine/out", "d/mine/real"},
		{"linked directory", false, func(s *scene) {
			s.mkdir("real", os.Geteuid(), 0o755)
			s.try(os.Symlink("real/", s.path("d")))
		}, "d/out", "real/out"},
		{"links from one to the next, and up", false, func(s *scene) {
			s.mkdir("d", os.Geteuid(), 0o755)
			s.mkdir("d/e", os.Geteuid(), 0o755)
			s.try(os.Symlink("d/e/../../one", s.path("out")))
			s.try(os.Symlink(s.path("d/two"), s.path("one")))
			s.try(os.Symlink("../three", s.path("d/two")))
		}, "out", "three"},
		{"another name of an own file, among one's own", false, func(s *scene) {
			s.file("earlier", os.Geteuid(), "real")
			s.hardLink("real", "out")
		}, "out", "real"},
		{"file of another user in a trusted directory", true, func(s *scene) { s.file("theirs", attacker, "out") }, "out", "out"},
	} {
		t.Run(test.name, func(t *testing.T) {
			testenv.Require(t, !test.root || os.Geteuid() == 0, "only root can make this scene")
			s := newScene(t)
			test.lay(s)
			s.try(write(t, s.dir+"/"+test.path))
			if text, err := os.ReadFile(s.path(test.file)); err != nil || string(text) != "traced" {
				t.Errorf("the file holds %q (%v)", text, err)
			}
			s.unharmed()
		})
	}
}

// Under sudo the invoking user's names count as trusted, but lead nowhere where
// that user may not write.
func TestInvokingUsersNames(t *testing.T) {
	testenv.Require(t, os.Geteuid() == 0, "only root can make these scenes")
	t.Setenv("SUDO_UID", "12345")
	t.Setenv("SUDO_GID", "12345")
	for _, test := range []struct {
		name string
		lay  func(*scene)
		path string
		want error
	}{
		{"own link", func(s *scene) { s.link("real", "home/out") }, "home/out", nil},
		{"own linked directory", func(s *scene) {
			s.mkdir("disk", sudoer, 0o755)
			s.link("../disk", "home/disk")
		}, "home/disk/out", nil},
		{"own link to a shared directory", func(s *scene) {
			s.mkdir("scratch", 0, 0o1777)
			s.link(s.path("scratch/out"), "home/out")
		}, "home/out", nil},
		{"own link to a device", func(s *scene) { s.link("/dev/null", "home/out") }, "home/out", nil},
		{"root's file in the own directory", func(s *scene) { s.file("earlier", 0, "home/out") }, "home/out", nil},
		{"root's directory by its name", func(s *scene) { s.mkdir("log", 0, 0o755) }, "log/out", nil},
		{"root's link to root's directory", func(s *scene) {
			s.mkdir("log", 0, 0o755)
			s.link("log", "logs")
		}, "logs/out", nil},
		{"own link to root's file", func(s *scene) { s.link(s.victim+"/precious", "home/out") }, "home/out", errLentLink},
		{"own link to nothing in root's directory", func(s *scene) { s.link(s.victim+"/new", "home/out") }, "home/out", errLentLink},
		{"own linked directory of root's", func(s *scene) { s.link(s.victim, "home/d") }, "home/d/new", errLentLink},
		{"another name of root's file", func(s *scene) { s.hardLink(s.victim+"/precious", "home/out") }, "home/out", errHardLink},
		{"a third user's link", func(s *scene) {
			s.mkdir("d", attacker, 0o755)
			s.link(s.victim+"/precious", "d/out")
		}, "d/out", errForeignLink},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newScene(t)
			s.mkdir("home", sudoer, 0o755)
			test.lay(s)
			if err := write(t, s.path(test.path)); !errors.Is(err, test.want) || (err == nil) != (test.want == nil) {
				t.Errorf("error %v, want %v", err, test.want)
			}
			s.unharmed()
		})
	}
}

func TestLinkLoop(t *testing.T) {
	s := newScene(t)
	s.try(os.Symlink("out", s.path("out")))
	err := write(t, s.path("out"))
	if !errors.Is(err, unix.ELOOP) || !strings.Contains(err.Error(), "too many symbolic links") {
		t.Errorf("error %v", err)
	}
}

// Neither what is opened nor what is refused leaves a descriptor behind.
func TestNoDescriptorLeaks(t *testing.T) {
	s := newScene(t)
	s.mkdir("d", os.Geteuid(), 0o1777)
	s.link(s.victim, "d/e")
	s.try(os.Symlink("real", s.path("out")))
	paths := []string{s.path("out"), s.path("d/e/new"), s.path("none/out"), s.path("d"), "/dev/null", "/dev/fd/1", "relative/none"}
	count := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		s.try(err)
		return len(entries)
	}
	before := 0
	for i := range 10 {
		if i == 1 { // what the runtime opens once, it has opened by then
			before = count()
		}
		for _, path := range paths {
			if f, err := Create(t.Context(), path, silent); err == nil {
				s.try(f.Abandon())
			}
			if r, err := NewReady(path); err == nil {
				r.Close()
			}
		}
	}
	if after := count(); after > before {
		t.Errorf("%d descriptors, %d before", after, before)
	}
}
