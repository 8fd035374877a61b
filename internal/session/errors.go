// SPDX-License-Identifier: Apache-2.0

package session

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/process"
	"github.com/phasetrace/phasetrace/internal/usdt"
)

// ErrNoMarkers is what a *NoMarkersError is.
var ErrNoMarkers = errors.New("no USDT markers to trace")

// ErrCountKeyed refuses to count in the kernel what it cannot: phases matched by
// a key may change threads, and each thread counts for itself.
var ErrCountKeyed = errors.New("phases matched by a key are not counted in the kernel")

// ErrCountBudget refuses a budget for what is counted in the kernel: sites that are
// counted cannot be removed and come again.
var ErrCountBudget = errors.New("a budget is not kept for phases that are counted in the kernel")

// NoMarkersError says that a target, or a library, has nothing to trace.
type NoMarkersError struct {
	Files   []string        // that were looked at
	Skipped []string        // that could not be read, and why
	Pairs   []usdt.PairSpec // that were asked for; none: the default choice
	// Refused are the sites that were left alone because this kernel cannot
	// probe their nops safely.
	Refused int
	LeftOff []usdt.PairSpec // pairs that are there, and traced only when they are asked for
	Why     []string        // what Pairs lack, in their order
	// Children are those of the target that have what it lacks.
	Children int
}

// Error names what was looked at.
func (e *NoMarkersError) Error() string {
	var b strings.Builder
	b.WriteString(ErrNoMarkers.Error() + ": ")
	if e.Refused > 0 {
		fmt.Fprintf(&b, "%s left alone because this kernel cannot probe their nops safely: ", count(e.Refused, "site"))
	}
	switch {
	case len(e.Pairs) > 0 && len(e.Why) > 0:
		fmt.Fprintf(&b, "%s: looked at ", first(e.Why))
	case len(e.Pairs) > 0:
		names := make([]string, len(e.Pairs))
		for i, p := range e.Pairs {
			names[i] = p.String()
		}
		fmt.Fprintf(&b, "none of the probes of %s in ", first(names))
	case len(e.LeftOff) > 0:
		b.WriteString("none by default in ")
	default:
		b.WriteString("looked at ")
	}
	b.WriteString(first(e.Files))
	if len(e.Skipped) > 0 {
		fmt.Fprintf(&b, "; not all could be read: %s", list(e.Skipped))
	}
	return b.String()
}

// Unwrap returns ErrNoMarkers.
func (e *NoMarkersError) Unwrap() error { return ErrNoMarkers }

// UnknownNameError says that no pair has a name that was asked for.
type UnknownNameError struct{ Name, Why string }

func (e *UnknownNameError) Error() string { return fmt.Sprintf("%q: %s", e.Name, e.Why) }

// LibraryError is about one of Config.Libraries.
type LibraryError struct {
	Path string
	Err  error
}

func (e *LibraryError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *LibraryError) Unwrap() error { return e.Err }

// withRemedy adds what to do when no more files could be open.
func withRemedy(err error) error {
	if process.OutOfFiles(err) {
		return fmt.Errorf("%w: %w", err, loader.ErrFiles)
	}
	return err
}

// list names a few things, by name, and counts the rest.
func list(names []string) string {
	return first(slices.Sorted(slices.Values(names)))
}

// first names the first few things and counts the rest.
func first(names []string) string {
	const shown = 3
	var all []string
	for _, name := range names {
		if !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	switch n := len(all) - shown; {
	case len(all) == 0:
		return "no file"
	case n > 0:
		return fmt.Sprintf("%s and %d more", strings.Join(all[:shown], ", "), n)
	}
	return strings.Join(all, ", ")
}

// count is a number with its noun.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
