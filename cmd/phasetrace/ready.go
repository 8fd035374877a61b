// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"

	"github.com/phasetrace/phasetrace/internal/output/file"
)

// readyFile is the file that tells scripts that tracing has begun; nil for none.
type readyFile struct{ *file.Ready }

func (o *traceOptions) newReady() (*readyFile, error) {
	if o.readyFile == "" {
		return nil, nil
	}
	r, err := file.NewReady(o.readyFile)
	if err != nil {
		return nil, err
	}
	return &readyFile{r}, nil
}

// announce creates the file, and calls before in between: when it has contents,
// that is done. A signal ends the wait for the reader of a pipe, and then ends the
// session in order, as at any other time.
func (r *readyFile) announce(ctx context.Context, say func(string), before func()) error {
	if r == nil {
		before()
		return nil
	}
	err := r.Announce(ctx, say, before)
	if err != nil && errors.Is(err, ctx.Err()) {
		say("warning: " + err.Error())
		return nil
	}
	return err
}

// withdraw takes back what was announced: the session did not begin.
func (r *readyFile) withdraw() error {
	if r == nil {
		return nil
	}
	return r.Withdraw()
}

func (r *readyFile) close() {
	if r != nil {
		r.Close()
	}
}
