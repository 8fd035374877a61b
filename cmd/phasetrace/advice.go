// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"

	"github.com/phasetrace/phasetrace/internal/session"
)

// advise adds to an error of a session what the user can do about it.
func advise(err error) error {
	var none *session.NoMarkersError
	var library *session.LibraryError
	switch {
	case errors.As(err, &library):
		return fmt.Errorf("--library: %w", err)
	case errors.As(err, &none) && none.Refused > 0:
		return fmt.Errorf("%w (\"phasetrace doctor -p PID\" explains; --unsafe-nops attaches all the same)", err)
	case errors.As(err, &none):
		return fmt.Errorf("%w (\"phasetrace list -p PID\" shows every probe there is)", err)
	case errors.Is(err, session.ErrCountKeyed):
		return fmt.Errorf("--aggregate: %w: they may change threads, and each thread counts for itself; leave out key= or trace without --aggregate", err)
	}
	return err
}
