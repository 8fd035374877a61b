// SPDX-License-Identifier: Apache-2.0

package process

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Exit statuses that shells use for commands that could not be started.
const (
	StatusNotExecutable = 126
	StatusNotFound      = 127
)

// CommandError says that a command could not be started.
type CommandError struct {
	Name   string // as it was given
	Status int    // StatusNotFound or StatusNotExecutable
	Err    error
}

func (e *CommandError) Error() string {
	if e.Status == StatusNotFound {
		return fmt.Sprintf("%s: command not found: %v; give its path, or a name that is in PATH", e.Name, e.Err)
	}
	return fmt.Sprintf("%s: cannot be executed: %v", e.Name, e.Err)
}

// Unwrap returns the system's error.
func (e *CommandError) Unwrap() error { return e.Err }

// LookCommand finds a command as execvp does: a name with a slash is a path,
// relative to dir; another is looked for in the directories of env's PATH, where
// an empty one means dir. Unlike execvp, and like shells, it treats a command as
// missing, not as forbidden, if the only obstacle is a directory it may not
// search. The error is a *CommandError.
func LookCommand(name, dir string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		if _, err := executable(inDir(dir, name)); err != nil {
			return "", commandError(name, err)
		}
		return name, nil
	}
	if name == "" {
		return "", commandError(name, unix.ENOENT)
	}
	var denied, hidden error
	for _, d := range strings.Split(pathOf(env), ":") {
		if d == "" {
			d = "."
		}
		path := d + "/" + name // keeps "./", which Clean would drop
		found, err := executable(inDir(dir, path))
		switch {
		case err == nil:
			return path, nil
		case found && denied == nil: // a later directory may have one that can be executed
			denied = err
		case !found && hidden == nil && errors.Is(err, fs.ErrPermission):
			hidden = fmt.Errorf("%w (%s, which is in PATH, cannot be looked into: %w)", unix.ENOENT, d, err)
		}
	}
	switch {
	case denied != nil:
		return "", commandError(name, denied)
	case hidden != nil:
		return "", &CommandError{Name: name, Status: StatusNotFound, Err: hidden}
	}
	return "", commandError(name, unix.ENOENT)
}

func inDir(dir, path string) string {
	if dir == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// pathOf returns the PATH of an environment; the default is that of execvp.
func pathOf(env []string) string {
	path := "/bin:/usr/bin"
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, "PATH="); ok {
			path = v
		}
	}
	return path
}

// executable returns nil for a file that can be executed, and whether a file is
// visible there at all.
func executable(path string) (found bool, err error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return false, rootCause(err)
	case info.IsDir():
		return true, unix.EISDIR
	case !info.Mode().IsRegular():
		return true, unix.EACCES
	}
	return true, unix.Faccessat(unix.AT_FDCWD, path, unix.X_OK, unix.AT_EACCESS)
}

func commandError(name string, err error) *CommandError {
	err = rootCause(err)
	status := StatusNotExecutable
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		status = StatusNotFound
	}
	return &CommandError{Name: name, Status: status, Err: err}
}
