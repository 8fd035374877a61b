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

// Max bounds the calls under way, including those that were given up and have not
// returned: each holds an operating system thread.
const Max = 16

// ErrBusy says that Max calls are under way; this one was not started.
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

// Do returns what f returns, or the context's error if that ends first. A call
// that is given up keeps running in its goroutine: it must not touch what the
// caller goes on to use, and should watch the context it is given. If it returns
// later without an error, drop takes the value, unless drop is nil.
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
	var settled atomic.Bool // by whichever comes first: the result or the end of the wait
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
