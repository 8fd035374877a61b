// SPDX-License-Identifier: Apache-2.0

// Package await calls what may never return and waits no longer than it is told
// to. A look at a file on a file system that does not answer is such a call: no
// signal and no deadline can end it.
//
// It must not know what the calls do.
package await

import (
	"context"
	"fmt"
	"sync/atomic"
)

// Max bounds the calls that are under way, those that were given up and have
// not returned included: each of them holds a thread of the system.
const Max = 16

// ErrBusy says that Max calls are under way; the one asked for was not begun.
var ErrBusy = fmt.Errorf("%d earlier calls have not returned yet", Max)

var (
	slots = make(chan struct{}, Max)
	left  atomic.Int32
)

// Left returns how many calls were given up and have not returned yet.
func Left() int { return int(left.Load()) }

type result[T any] struct {
	value T
	err   error
}

// Do returns what f returns, or the context's error when that is over first.
// A call that is given up so runs on in its goroutine. It must not touch what
// its caller goes on to use, and should end soon: it is handed the context.
// When it returns at last, and without an error, drop, unless it is nil, takes
// the value.
func Do[T any](ctx context.Context, f func(context.Context) (T, error), drop func(T)) (T, error) {
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	select {
	case slots <- struct{}{}:
	default:
		return none, ErrBusy
	}
	returned := make(chan result[T], 1)
	var settled atomic.Bool // by the one that comes first: the result or the end of the wait
	go func() {
		value, err := f(ctx)
		<-slots
		if !settled.Swap(true) {
			returned <- result[T]{value, err}
			return
		}
		if err == nil && drop != nil {
			drop(value)
		}
		left.Add(-1)
	}()
	select {
	case r := <-returned:
		return r.value, r.err
	case <-ctx.Done():
	}
	left.Add(1)
	if settled.Swap(true) { // it returned just now
		left.Add(-1)
		r := <-returned
		return r.value, r.err
	}
	return none, ctx.Err()
}
