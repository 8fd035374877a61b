// SPDX-License-Identifier: Apache-2.0

package process

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Command is a program to start.
type Command struct {
	Args  []string   // name or path, then arguments
	Env   []string   // KEY=value; nil: ours
	Files []*os.File // descriptors 0, 1, …; nil: our first three. A nil entry is closed in the child
	Dir   string     // working directory; "": ours
	// Credential changes the user and groups, nil keeps ours.
	Credential *syscall.Credential
}

// Spawned is a started program that is held before its first instruction until
// Release. It is in our process group, so signals from a terminal (Ctrl-C) reach
// it directly. The caller must call Release or Kill, and then Wait. Methods are
// safe for concurrent use.
//
// It is held as a tracee of this process. When this process dies while it
// holds, by SIGKILL as well, the kernel kills the program, which never ran an
// instruction; after Release nothing ties the two together. A set-user-ID
// program gets its rights only if we have CAP_SYS_PTRACE, as with any tracer.
type Spawned struct {
	PID     int
	process *os.Process

	once     sync.Once
	release  chan struct{}
	released chan error // one value: the outcome of the detach

	waitOnce sync.Once
	state    *os.ProcessState
	waitErr  error
}

// Spawn starts args[0] as [Command.Start] does, with the given environment and
// files (nil for ours).
func Spawn(args, env []string, files []*os.File) (*Spawned, error) {
	return Command{Args: args, Env: env, Files: files}.Start()
}

// Start starts the command and holds it at the end of its exec: its
// executable and dynamic linker are mapped, its libraries are not. The error is
// a [*CommandError] when the command is not found or cannot be executed. A file
// without a known format is run by /bin/sh, as execvp does.
func (c Command) Start() (*Spawned, error) {
	if len(c.Args) == 0 {
		return nil, errors.New("start a command: no command given")
	}
	if c.Env == nil {
		c.Env = os.Environ()
	}
	if c.Files == nil {
		c.Files = []*os.File{os.Stdin, os.Stdout, os.Stderr}
	}
	if c.Dir != "" {
		if info, err := os.Stat(c.Dir); err != nil || !info.IsDir() {
			return nil, fmt.Errorf("start %s: working directory %s is not a directory that exists", c.Args[0], c.Dir)
		}
	}
	path, err := LookCommand(c.Args[0], c.Dir, c.Env)
	if err != nil {
		return nil, err
	}
	s, err := c.start(path, c.Args)
	if errors.Is(err, unix.ENOEXEC) {
		s, err = c.start("/bin/sh", append([]string{"/bin/sh", path}, c.Args[1:]...))
	}
	return s, err
}

func (c Command) start(path string, args []string) (*Spawned, error) {
	s := &Spawned{release: make(chan struct{}), released: make(chan error, 1)}
	started := make(chan error)
	go s.hold(c, path, args, started)
	if err := <-started; err != nil {
		return nil, err
	}
	return s, nil
}

// hold starts the program and lets it go. To the kernel the tracer is one thread,
// and it releases the tracee when that thread ends.
func (s *Spawned) hold(c Command, path string, args []string, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	unguard := guardStart(unix.Gettid())
	process, err := os.StartProcess(path, args, &os.ProcAttr{
		Dir: c.Dir, Env: c.Env, Files: c.Files,
		Sys: &syscall.SysProcAttr{Ptrace: true, Credential: c.Credential},
	})
	unguard()
	if err != nil {
		started <- startError(c.Args[0], err)
		return
	}
	s.process, s.PID = process, process.Pid
	if err := awaitExec(process); err != nil {
		started <- fmt.Errorf("start %s: %w", c.Args[0], err)
		return
	}
	started <- nil
	<-s.release
	// Signal 0: the trap that stopped it is not passed on.
	err = unix.PtraceDetach(s.PID)
	if err == unix.ESRCH {
		err = ErrNoProcess
	}
	s.released <- err
}

// awaitExec waits for the stop at the end of exec and ties the tracee's life to
// ours for as long as it is held.
func awaitExec(process *os.Process) error {
	for {
		var ws unix.WaitStatus
		_, err := unix.Wait4(process.Pid, &ws, unix.WALL, nil)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return fmt.Errorf("wait for its exec: %w", err)
		case ws.Exited() || ws.Signaled():
			_ = process.Release() // reaped just now
			return errors.New("it was killed before its first instruction")
		case !ws.Stopped():
			continue
		}
		if ws.StopSignal() == unix.SIGTRAP {
			break
		}
		// A signal that came before exec: let it act.
		if err := unix.PtraceCont(process.Pid, int(ws.StopSignal())); err != nil && err != unix.ESRCH {
			return fmt.Errorf("pass on %v: %w", ws.StopSignal(), err)
		}
	}
	err := unix.PtraceSetOptions(process.Pid, unix.PTRACE_O_EXITKILL)
	if err != nil {
		_ = process.Kill()
		_, _ = process.Wait()
		return fmt.Errorf("hold it: %w", err)
	}
	return nil
}

// guardStart ends a start that hangs. A signal that reaches the child after it
// became a tracee and before its exec stops it, and os.StartProcess then waits
// for ever on the one thread that could let it go on. Such a child is killed,
// which the signals that people send (SIGINT, SIGTERM) would have done anyway.
func guardStart(thread int) (stop func()) {
	done := make(chan struct{})
	var guard sync.WaitGroup
	guard.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				killStoppedChildren(thread)
			}
		}
	})
	return func() {
		close(done)
		guard.Wait()
	}
}

// killStoppedChildren kills the children of one of our threads that are stopped
// as its tracees and have not run exec yet.
func killStoppedChildren(thread int) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/children", thread))
	if err != nil {
		return
	}
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	for _, field := range strings.Fields(string(data)) {
		child, err := Open(atoi(field))
		if err != nil {
			continue
		}
		if st, err := child.stat("stat"); err == nil && st.State == 't' && child.Exe == self {
			_ = child.Signal(unix.SIGKILL)
		}
		child.Close()
	}
}

func atoi(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}

// startError separates what is wrong with the command from what is wrong with
// tracing it.
func startError(name string, err error) error {
	switch cause := rootCause(err); cause {
	case unix.EPERM:
		return fmt.Errorf("start %s: %w; holding it needs ptrace, which a security policy forbids here (kernel.yama.ptrace_scope, seccomp): allow it, or start the command by itself and attach to it", name, cause)
	case unix.ENOENT:
		// LookCommand has found the file itself.
		return &CommandError{Name: name, Status: StatusNotExecutable,
			Err: errors.New("its interpreter (the line that begins with #!, or the dynamic linker) does not exist")}
	case unix.ENOTDIR, unix.EACCES, unix.ENOEXEC, unix.ETXTBSY, unix.ELOOP,
		unix.EISDIR, unix.ENAMETOOLONG, unix.E2BIG, unix.EINVAL, unix.ELIBBAD:
		return commandError(name, cause)
	default:
		return fmt.Errorf("start %s: %w", name, cause)
	}
}

// Release lets the program run. It returns ErrNoProcess when the program was
// killed while it was held. A second call does nothing.
func (s *Spawned) Release() error {
	err := error(nil)
	s.once.Do(func() {
		close(s.release)
		err = <-s.released
		if err != nil && err != ErrNoProcess {
			err = fmt.Errorf("let process %d run: %w", s.PID, err)
		}
	})
	return err
}

// Kill ends the program, held or not.
func (s *Spawned) Kill() error {
	err := s.process.Kill()
	s.once.Do(func() {
		close(s.release)
		<-s.released
	})
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// Signal sends a signal to the program; after its end it does nothing.
func (s *Spawned) Signal(sig os.Signal) error {
	err := s.process.Signal(sig)
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// ForwardSignals passes signals that this process receives on to the program
// until stop is called: those given, or SIGTERM, SIGHUP, SIGUSR1 and SIGUSR2.
// Leave out SIGINT, SIGQUIT and SIGTSTP: a terminal sends them to both.
func (s *Spawned) ForwardSignals(signals ...os.Signal) (stop func()) {
	if len(signals) == 0 {
		signals = []os.Signal{unix.SIGTERM, unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2}
	}
	in := make(chan os.Signal, 16)
	done := make(chan struct{})
	signal.Notify(in, signals...)
	var forwarder sync.WaitGroup
	forwarder.Go(func() {
		for {
			select {
			case sig := <-in:
				_ = s.Signal(sig)
			case <-done:
				return
			}
		}
	})
	var once sync.Once
	return func() {
		once.Do(func() {
			signal.Stop(in)
			close(done)
			forwarder.Wait()
		})
	}
}

// Wait waits for the program's end and reaps it. Every call returns the same.
func (s *Spawned) Wait() (*os.ProcessState, error) {
	s.waitOnce.Do(func() {
		s.state, s.waitErr = s.process.Wait()
	})
	return s.state, s.waitErr
}

// ExitStatus returns what a shell would show as $?: the program's exit status,
// or 128 and the number of the signal that killed it.
func ExitStatus(state *os.ProcessState) int {
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return state.ExitCode()
}
