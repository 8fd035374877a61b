// SPDX-License-Identifier: Apache-2.0

package file

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/phasetrace/phasetrace/internal/testenv"
)

func newReady(s *scene, name string) *Ready {
	s.Helper()
	r, err := NewReady(s.path(name))
	s.try(err)
	s.Cleanup(r.Close)
	return r
}

// isReady wants a line with a time in the file.
func (s *scene) isReady(name string) {
	s.Helper()
	text, err := os.ReadFile(s.path(name))
	s.try(err)
	if _, err := time.Parse(time.RFC3339Nano+"\n", string(text)); err != nil {
		s.Errorf("the ready file holds %q", text)
	}
}

func (s *scene) missing(name string) {
	s.Helper()
	if _, err := os.Lstat(s.path(name)); !errors.Is(err, os.ErrNotExist) {
		s.Errorf("%s is there (%v)", name, err)
	}
}

func TestReady(t *testing.T) {
	s := newScene(t)
	r := newReady(s, "ready")
	s.missing("ready")
	called := 0
	s.try(r.Announce(t.Context(), silent, func() {
		called++
		if info, err := os.Stat(s.path("ready")); err != nil || info.Size() != 0 || info.Mode() != 0o600 {
			t.Errorf("before the line there is %v (%v), want an empty private file", info, err)
		}
	}))
	s.isReady("ready")
	if called != 1 {
		t.Errorf("before was called %d times", called)
	}

	// The next one removes it at once, and leaves none when it comes to nothing.
	next := newReady(s, "ready")
	s.missing("ready")
	s.try(next.Withdraw())
	s.missing("ready")
	s.try(next.Announce(t.Context(), silent, func() {}))
	s.isReady("ready")
	s.try(next.Withdraw())
	s.missing("ready")
}

// Nothing but what an earlier process has made is removed.
func TestReadyKeepsFiles(t *testing.T) {
	now := time.Now()
	for name, text := range map[string]string{
		"text":               "precious\n",
		"time of date -Is":   now.Format(time.RFC3339) + "\n",
		"two lines":          now.Format("2006-01-02T15:04:05.5Z07:00") + "\n\n",
		"line without end":   "2026-01-02T15:04:05.5Z",
		"zeros, much longer": strings.Repeat("\x00", 1<<20),
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.file(text, os.Geteuid(), "ready")
			_, err := NewReady(s.path("ready"))
			if !errors.Is(err, errNotReady) || !strings.Contains(err.Error(), "remove it, or choose another name") {
				t.Errorf("error %v", err)
			}
			if got, err := os.ReadFile(s.path("ready")); err != nil || string(got) != text {
				t.Errorf("the file holds %.40q (%v)", got, err)
			}
		})
	}
	s := newScene(t)
	s.file("2026-01-02T15:04:05.5Z\n", os.Geteuid(), "public")
	s.own(os.Geteuid(), 0o644, s.path("public"))
	s.file("2026-01-02T15:04:05.5Z\n", os.Geteuid(), "linked")
	s.hardLink("linked", "link")
	for _, name := range []string{"public", "linked"} {
		if _, err := NewReady(s.path(name)); !errors.Is(err, errNotReady) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// An empty file stays the one it is.
func TestReadyTakesEmptyFile(t *testing.T) {
	s := newScene(t)
	s.file("", os.Geteuid(), "ready")
	s.own(os.Geteuid(), 0o640, s.path("ready"))
	before, err := os.Stat(s.path("ready"))
	s.try(err)
	r := newReady(s, "ready")
	s.try(r.Announce(t.Context(), silent, func() {}))
	s.isReady("ready")
	s.try(r.Withdraw())
	after, err := os.Stat(s.path("ready"))
	if err != nil || !os.SameFile(before, after) || after.Size() != 0 || after.Mode() != before.Mode() {
		t.Errorf("the file is %v (%v), was %v", after, err, before)
	}
}

func TestReadyPlanted(t *testing.T) {
	testenv.Require(t, os.Geteuid() == 0, "only root can make another user's directory")
	s := newScene(t)
	s.mkdir("d", attacker, 0o755)
	s.link(s.victim+"/precious", "d/link")
	s.link(s.victim, "d/dir")
	s.hardLink(s.victim+"/precious", "d/hard")
	s.file("2026-01-02T15:04:05.5Z\n", attacker, "d/theirs")
	for name, want := range map[string]error{
		"d/link": errForeignLink, "d/dir/new": errForeignLink, "d/dir/precious": errForeignLink,
		"d/hard": errHardLink, "d/theirs": errForeignFile,
	} {
		if _, err := NewReady(s.path(name)); !errors.Is(err, want) {
			t.Errorf("%s: error %v, want %v", name, err, want)
		}
	}
	s.unharmed()
}

// What another user puts in the place while the probes are attached is neither
// written nor removed.
func TestReadySwapped(t *testing.T) {
	s := newScene(t)
	s.mkdir("d", os.Geteuid(), 0o777)
	r := newReady(s, "d/ready")
	s.link(s.victim+"/precious", "d/ready")
	if err := r.Announce(t.Context(), silent, func() {}); !errors.Is(err, errAppeared) {
		t.Errorf("error %v", err)
	}
	s.unharmed()

	s.try(os.Remove(s.path("d/ready")))
	s.try(r.Announce(t.Context(), silent, func() {}))
	s.try(os.Rename(s.path("d/ready"), s.path("d/moved")))
	s.hardLink(s.victim+"/precious", "d/ready")
	s.try(r.Withdraw())
	if _, err := os.Lstat(s.path("d/ready")); err != nil {
		t.Errorf("somebody else's file was removed: %v", err)
	}
	s.unharmed()
}

// The wait for a pipe's reader ends with the context; what has to be done before
// is done all the same.
func TestReadyPipe(t *testing.T) {
	s := newScene(t)
	s.fifo("ready", os.Geteuid())
	r := newReady(s, "ready")
	ctx, cancel := context.WithCancel(t.Context())
	called := 0
	err := r.Announce(ctx, func(string) { cancel() }, func() { called++ })
	if !errors.Is(err, context.Canceled) || called != 1 {
		t.Errorf("error %v, before was called %d times", err, called)
	}
	waits, read := make(chan struct{}), make(chan string, 1)
	go func() {
		<-waits
		text, _ := os.ReadFile(s.path("ready"))
		read <- string(text)
	}()
	s.try(r.Announce(t.Context(), func(string) { close(waits) }, func() {}))
	if got := <-read; !strings.HasSuffix(got, "\n") {
		t.Errorf("the reader got %q", got)
	}
	s.try(r.Withdraw())
}
