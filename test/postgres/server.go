// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// server is a PostgreSQL of its own, on a Unix socket in its own folder.
type server struct {
	root    string // that it runs under, without a closing slash
	bin     string // folder of its programs, under root
	home    string // its folder, under root
	release string // "15.20"
	process *exec.Cmd
}

// settings let the server tell what is asked: how long locks were waited for, what
// autovacuum and checkpoints took. No checkpoint begins by itself, and no autovacuum
// before fill has switched it off: what is given here nothing could change later.
var settings = []string{
	"listen_addresses=", "shared_preload_libraries=pg_stat_statements", "shared_buffers=256MB", "autovacuum_naptime=1s",
	"checkpoint_timeout=1h", "max_wal_size=8GB", "log_lock_waits=on", "deadlock_timeout=10ms", "log_checkpoints=on",
	"log_autovacuum_min_duration=0", "log_line_prefix=",
}

// startServer makes a cluster and starts a server on it.
func startServer(root string) (_ *server, err error) {
	s := &server{root: strings.TrimRight(root, "/")}
	if err := s.find(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.stop(), s.remove())
		}
	}()
	folder, err := os.MkdirTemp(s.root+"/tmp", "pg-questions-")
	if err != nil {
		return nil, err
	}
	s.home = strings.TrimPrefix(folder, s.root)
	if out, err := exec.Command("chroot", s.root+"/", "chown", "postgres", s.home).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("give %s to postgres: %w: %s", folder, err, out)
	}
	if _, err := s.output("initdb", "-D", s.home+"/data", "-A", "trust", "-N"); err != nil {
		return nil, err
	}
	log, err := os.Create(s.logFile())
	if err != nil {
		return nil, err
	}
	defer log.Close()
	args := []string{"-D", s.home + "/data", "-k", s.home}
	for _, setting := range settings {
		args = append(args, "-c", setting)
	}
	s.process = s.command("postgres", args...)
	s.process.Stdout, s.process.Stderr = log, log
	if err := s.process.Start(); err != nil {
		return nil, err
	}
	return s, within(30*time.Second, "the server to answer", func() bool {
		_, err := s.query("select 1")
		return err == nil
	})
}

// find finds the server's programs.
func (s *server) find() error {
	found, _ := filepath.Glob(s.root + "/usr/lib/postgresql/*/bin/pgbench")
	if len(found) == 0 {
		return fmt.Errorf("no PostgreSQL in %s/usr/lib/postgresql: apt-get install postgresql", s.root)
	}
	s.bin = strings.TrimPrefix(filepath.Dir(found[len(found)-1]), s.root)
	out, err := s.output("postgres", "--version")
	if err != nil {
		return err
	}
	if fields := strings.Fields(out); len(fields) > 2 {
		s.release = fields[2]
	}
	return nil
}

func (s *server) logFile() string { return s.root + s.home + "/log" }

// command is a program of the server's, as its user.
func (s *server) command(name string, args ...string) *exec.Cmd {
	all := []string{s.root + "/", "setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups",
		"env", "LC_ALL=C", "PGHOST=" + s.home, "PGDATABASE=postgres", filepath.Join(s.bin, name)}
	cmd := exec.Command("chroot", append(all, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	return cmd
}

// output runs such a program and returns what it says.
func (s *server) output(name string, args ...string) (string, error) {
	cmd := s.command(name, args...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, &errs)
	}
	return strings.TrimSpace(string(out)), nil
}

// query runs statements and returns their rows, with | between columns.
func (s *server) query(sql ...string) (string, error) {
	args := []string{"-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"}
	for _, one := range sql {
		args = append(args, "-c", one)
	}
	return s.output("psql", args...)
}

// number runs a query for one number.
func (s *server) number(sql string) (float64, error) {
	out, err := s.query(sql)
	if err != nil {
		return 0, err
	}
	return strconv.ParseFloat(out, 64)
}

// pgbench runs a script by a protocol.
func (s *server) pgbench(protocol, script string, args ...string) error {
	file := s.home + "/script.sql"
	if err := os.WriteFile(s.root+file, []byte(script), 0o644); err != nil {
		return err
	}
	_, err := s.output("pgbench", append([]string{"-n", "-M", protocol, "-f", file}, args...)...)
	return err
}

// logged returns what the server has logged from a place on, and the next place.
func (s *server) logged(from int) (string, int, error) {
	all, err := os.ReadFile(s.logFile())
	if err != nil {
		return "", 0, err
	}
	return string(all[min(from, len(all)):]), len(all), nil
}

// pid is the postmaster's process id.
func (s *server) pid() (string, error) {
	b, err := os.ReadFile(s.root + s.home + "/data/postmaster.pid")
	if err != nil {
		return "", err
	}
	first, _, _ := strings.Cut(string(b), "\n")
	return first, nil
}

// stop ends the server.
func (s *server) stop() error {
	if s.process == nil || s.process.Process == nil {
		return nil
	}
	if err := s.process.Process.Signal(os.Interrupt); err != nil {
		return err
	}
	return s.process.Wait()
}

// remove removes the server's files.
func (s *server) remove() error {
	if s.home == "" {
		return nil
	}
	return os.RemoveAll(s.root + s.home)
}

// within waits until something is so.
func within(limit time.Duration, what string, is func() bool) error {
	for end := time.Now().Add(limit); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			return fmt.Errorf("waited %v for %s", limit, what)
		}
	}
	return nil
}
