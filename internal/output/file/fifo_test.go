// SPDX-License-Identifier: Apache-2.0

package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/phasetrace/phasetrace/internal/testenv"
)

// tooLong is when a test gives up on what should have happened at once.
const tooLong = time.Minute

func (s *scene) fifo(name string, uid int) {
	s.Helper()
	s.try(unix.Mkfifo(s.path(name), 0o600))
	s.own(uid, 0o600, s.path(name))
}

// The wait for a pipe's reader is reported, and ends with the context.
func TestPipeWithoutReader(t *testing.T) {
	s := newScene(t)
	s.fifo("out", os.Geteuid())
	ctx, cancel := context.WithCancel(t.Context())
	var said []string
	done := make(chan error, 1)
	go func() {
		_, err := Create(ctx, s.path("out"), func(m string) {
			said = append(said, m)
			cancel()
		})
		done <- err
	}()
	select {
	case err := <-done:
		if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "interrupted before anybody read the pipe") {
			t.Errorf("error %v", err)
		}
	case <-time.After(tooLong):
		t.Fatal("still waiting for a reader, though the context has ended")
	}
	if len(said) != 1 || said[0] != "waiting for somebody to read "+s.path("out") {
		t.Errorf("said %q", said)
	}
}

// A reader who comes later gets everything, and the end.
func TestPipeWithLateReader(t *testing.T) {
	s := newScene(t)
	s.fifo("out", os.Geteuid())
	waits, read := make(chan struct{}), make(chan string, 1)
	go func() {
		<-waits
		text, err := os.ReadFile(s.path("out"))
		read <- fmt.Sprint(len(text), " bytes, ", err)
	}()
	f, err := Create(t.Context(), s.path("out"), func(string) { close(waits) })
	s.try(err)
	const size = 1 << 20 // more than a pipe holds
	_, err = f.Write(make([]byte, size))
	s.try(errors.Join(err, f.Close()))
	if got := <-read; got != fmt.Sprint(size, " bytes, <nil>") {
		t.Errorf("the reader got %s", got)
	}
}

// Another user's pipe is refused at once, whoever reads it.
func TestForeignPipe(t *testing.T) {
	testenv.Require(t, os.Geteuid() == 0, "only root can make another user's pipe")
	s := newScene(t)
	s.mkdir("d", attacker, 0o755)
	s.fifo("d/out", attacker)
	if err := write(t, s.path("d/out")); !errors.Is(err, errForeignFile) {
		t.Errorf("error %v", err)
	}
}

// A socket is no pipe: nobody is waited for.
func TestSocket(t *testing.T) {
	s := newScene(t)
	t.Chdir(s.dir) // a socket's path must be short
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	s.try(err)
	defer unix.Close(fd)
	s.try(unix.Bind(fd, &unix.SockaddrUnix{Name: "out"}))
	if err := write(t, "out"); !errors.Is(err, unix.ENXIO) {
		t.Errorf("error %v", err)
	}
}

// The names of open files mean those, as they are, by whatever link they are
// reached.
func TestOwnDescriptors(t *testing.T) {
	s := newScene(t)
	s.file("earlier ", os.Geteuid(), "open")
	open, err := os.OpenFile(s.path("open"), os.O_RDWR, 0)
	s.try(err)
	defer open.Close()
	_, err = open.Seek(0, io.SeekEnd)
	s.try(err)
	n := open.Fd()
	s.try(os.Symlink(fmt.Sprintf("/dev/fd/%d", n), s.path("link")))
	for _, path := range []string{fmt.Sprintf("/dev/fd/%d", n), fmt.Sprintf("/proc/self//fd/./%d", n),
		fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n), s.path("link")} {
		s.try(write(t, path))
	}
	text, err := os.ReadFile(s.path("open"))
	if want := "earlier " + strings.Repeat("traced", 4); err != nil || string(text) != want {
		t.Errorf("the open file holds %q (%v), want %q", text, err, want)
	}
	reading, err := os.Open(s.path("open"))
	s.try(err)
	defer reading.Close()
	if err := write(t, fmt.Sprintf("/dev/fd/%d", reading.Fd())); !errors.Is(err, errReadOnly) {
		t.Errorf("a file open for reading: error %v", err)
	}
	for path, want := range map[string]string{
		"/dev/fd/999999": "it is not open",
		fmt.Sprintf("/proc/self/task/%d/fd/1", os.Getpid()): "is a link that only the kernel can follow",
	} {
		if err := write(t, path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", path, err, want)
		}
	}
}
