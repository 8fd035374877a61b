// SPDX-License-Identifier: Apache-2.0

package process

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/phasetrace/phasetrace/internal/await"
)

// MaxLibraries bounds the libraries looked for per program.
const MaxLibraries = 4096

// Dynamic is what a dynamic linker reads of an ELF file.
type Dynamic struct {
	Class, Machine uint16 // EI_CLASS and e_machine: libraries of another kind are skipped
	Shared         bool   // a library (dynamic linkers count as such), not a program
	Interp         string // path of the dynamic linker, "" if none
	Soname         string
	Needed         []string
	RPath, RunPath []string // directories, as written ($ORIGIN and all)
}

// Library is a file that a program loads at its start.
type Library struct {
	Name     string // as it is needed
	Path     string // inside the root; "" when it was not found
	HostPath string // readable by us; "" when it was not found
	NeededBy string // path inside the root of the file that needs it
	Err      error  // why it was not found or cannot be read
}

// Search says where to look for libraries. [Process.LibrarySearch] makes one
// for a process that starts.
type Search struct {
	Root string // directory that the program will see as /; "" is ours
	// Dir leads us to the program's working directory, from which relative names
	// and directories start, as do empty elements of a search path. "": unknown;
	// these are skipped.
	Dir         string
	LibraryPath string   // LD_LIBRARY_PATH of the program; "" if none
	Preload     []string // LD_PRELOAD, split; loaded before all others
	// Secure says that the program gets rights that its caller lacks (AT_SECURE,
	// as for set-user-ID): the linker ignores most of its caller's settings.
	Secure bool
	// Args are the program's arguments with its name first. They matter if it is
	// a dynamic linker, which finds there what to run.
	Args []string
	// Read returns what the dynamic linker reads of a file, which is a regular one
	// and closed afterwards. It must not trust the file. It is called by another
	// goroutine, and may still be running after a search that was given up.
	Read func(*os.File) (Dynamic, error)
	// LevelDirs are subdirectories of the system's directories for better
	// processors, best first (glibc-hwcaps); nil are this machine's.
	LevelDirs []string
}

// ErrLibraryNotFound says that a needed library is in none of the directories.
var ErrLibraryNotFound = errors.New("not found in the directories of the dynamic linker")

// SearchTimeError says that a search for libraries was given up: its context was
// over, or too many earlier ones have not returned (await.ErrBusy).
type SearchTimeError struct {
	Program string // whose libraries were looked for
	At      string // path that was being looked at, "" for none
	Err     error
}

func (e *SearchTimeError) Error() string {
	if e.At == "" {
		return fmt.Sprintf("libraries of %s are not searched for: %v; those with markers are attached once they are loaded", e.Program, e.Err)
	}
	return fmt.Sprintf("the search for libraries of %s was given up at %s (%v): does that file system answer? The libraries not found by then are attached once they are loaded", e.Program, e.At, e.Err)
}

// Unwrap returns why it was given up.
func (e *SearchTimeError) Unwrap() error { return e.Err }

// ResolveLibraries returns the files that the dynamic linker will load with a
// program that has not been started, in its breadth-first order, dynamic linker
// first. It follows ld.so(8): RPATH (of the file and of those that caused it to
// be loaded), LD_LIBRARY_PATH, RUNPATH, the directories of /etc/ld.so.conf, the
// default ones; or musl's rules where that is the linker. It does not read
// ld.so.cache, so a library whose directory was taken out of ld.so.conf since may
// differ. Libraries that are not found are returned with their Err. Libraries
// that the program itself loads (dlopen) cannot be known.
//
// exe is the path inside the root. When it is itself a dynamic linker, the
// program that Args tell it to run comes second.
//
// It returns once the context ends, even if a file system does not answer: a
// goroutine then keeps waiting for that. What has been found by then is returned
// with a [*SearchTimeError]. Other errors are about the executable itself, or
// wrap ErrTruncated.
func (s Search) ResolveLibraries(ctx context.Context, exe string) ([]Library, error) {
	r := newResolver(s, exe)
	_, err := await.Do(ctx, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, r.resolve(ctx)
	}, nil)
	if err != nil && (ctx.Err() != nil || errors.Is(err, await.ErrBusy)) {
		err = &SearchTimeError{Program: exe, At: r.current(), Err: err}
	}
	return r.soFar(), err
}

// LibrarySearch returns the search for the libraries of a process that is about
// to start its program; Read is left to the caller. The error says what could not
// be read of the process and is missing from the search.
func (p *Process) LibrarySearch() (Search, error) {
	prefix, err := p.memoryDir()
	if err != nil {
		return Search{}, err
	}
	of := procPath(p.PID) + "/" + prefix
	env, envErr := p.Environ("LD_LIBRARY_PATH", "LD_PRELOAD")
	aux, auxErr := p.auxv()
	return Search{
		Root: of + "root", Dir: of + "cwd", Args: p.Cmdline,
		LibraryPath: env["LD_LIBRARY_PATH"], Preload: splitPreload(env["LD_PRELOAD"]),
		Secure: aux[auxSecure] != 0,
	}, errors.Join(envErr, auxErr)
}
