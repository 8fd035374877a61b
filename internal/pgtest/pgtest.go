// SPDX-License-Identifier: Apache-2.0

// Package pgtest runs a real PostgreSQL server for tests, Debian's postgresql-15 as
// packaged, on a Unix socket in a folder of the test. It must not know tracing.
package pgtest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/testenv"
)

// BinDir is where Debian installs the server's programs.
const BinDir = "/usr/lib/postgresql/15/bin"

// Server is a running server. It ends with the test.
type Server struct {
	t    testing.TB
	dir  string
	cred *syscall.Credential // nil: ours
}

// Start makes a new cluster and starts a server on it. Without Debian's
// package the test is skipped, or fails where skips must not be.
func Start(t testing.TB) *Server {
	t.Helper()
	if _, err := os.Stat(filepath.Join(BinDir, "postgres")); err != nil {
		testenv.Require(t, false, "PostgreSQL is not installed: apt-get install postgresql-15")
	}
	s := &Server{t: t, dir: shortDir(t)}
	if os.Geteuid() == 0 { // as whom it refuses to run
		s.cred = credential(t)
		if err := os.Chown(s.dir, int(s.cred.Uid), int(s.cred.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	s.command("initdb", "-D", s.data(), "-U", "postgres", "-A", "trust", "-N", "--no-instructions")
	s.start()
	return s
}

// shortDir returns a folder whose path leaves room for a socket's name (107
// bytes in all) and that the server's user may enter.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pt-pg-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// credential is the user that a server of root's runs as.
func credential(t testing.TB) *syscall.Credential {
	t.Helper()
	u, err := user.Lookup("postgres")
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.ParseUint(u.Uid, 10, 32)
	gid, _ := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

func (s *Server) prepare(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(BinDir, name), args...)
	cmd.Dir = s.dir
	if s.cred != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.cred}
	}
	cmd.Env = append(os.Environ(), "LC_ALL=C", "PGHOST="+s.dir, "PGUSER=postgres", "PGDATABASE=postgres")
	return cmd
}

func (s *Server) command(name string, args ...string) {
	s.t.Helper()
	if out, err := s.prepare(name, args...).CombinedOutput(); err != nil {
		s.t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// start runs the server itself, so that its PID is known and nothing outlives
// the test.
func (s *Server) start() {
	s.t.Helper()
	s.command("pg_ctl", "-D", s.data(), "-w", "-l", filepath.Join(s.dir, "log"), "start",
		"-o", fmt.Sprintf("-c listen_addresses= -k %s -c fsync=off -c autovacuum=off -c max_connections=40", s.dir))
	s.t.Cleanup(func() {
		s.command("pg_ctl", "-D", s.data(), "-w", "-m", "immediate", "stop")
		if s.t.Failed() {
			log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
			s.t.Logf("the server's log ends with:\n%s", tail(log, 2000))
		}
	})
}

func tail(b []byte, n int) []byte {
	if len(b) > n {
		return b[len(b)-n:]
	}
	return bytes.TrimSpace(b)
}

// Pid is the postmaster's process id.
func (s *Server) Pid() int {
	s.t.Helper()
	b, err := os.ReadFile(filepath.Join(s.data(), "postmaster.pid"))
	if err != nil {
		s.t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(b), "\n")
	pid, err := strconv.Atoi(first)
	if err != nil || unix.Kill(pid, 0) != nil {
		s.t.Fatalf("postmaster.pid names %q, which does not run", first)
	}
	return pid
}

// Client is a psql that is connected for as long as the test wants.
type Client struct {
	*fixture.Proc
	// Backend is the process id of the server's side of the connection.
	Backend int
}

// end marks the end of an answer.
const end = "-- end of answer --"

// Connect opens a connection with psql.
func (s *Server) Connect() *Client {
	s.t.Helper()
	cmd := s.prepare("psql", "-X", "-q", "-A", "-t")
	c := &Client{Proc: fixture.StartCmd(s.t, cmd)}
	answer := c.Do("select pg_backend_pid();")
	pid, err := strconv.Atoi(strings.Join(answer, ""))
	if err != nil {
		s.t.Fatalf("no backend pid in %q", answer)
	}
	c.Backend = pid
	return c
}

// Do sends statements and returns the lines of their answers; errors of the
// server go to the client's standard error.
func (c *Client) Do(sql string) []string {
	c.WriteLine(sql)
	c.WriteLine(`\echo ` + end)
	var out []string
	for {
		line := c.ReadLine()
		if line == end {
			return out
		}
		out = append(out, line)
	}
}

// Close ends the connection and waits for psql.
func (c *Client) Close() {
	c.WriteLine(`\q`)
	c.WaitOK()
}
