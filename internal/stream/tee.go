// SPDX-License-Identifier: Apache-2.0

package stream

// Tee returns a sink that hands everything to each of the sinks, in order, on the
// caller's goroutine. A sink that has failed gets no more records while the
// others go on; Flush and End reach all. Every method returns the first error so
// far.
//
// Start stops at the first sink that fails: the session does not begin.
func Tee(sinks ...Sink) Sink {
	return &tee{sinks: sinks, failed: make([]bool, len(sinks))}
}

type tee struct {
	sinks  []Sink
	failed []bool
	err    error
}

func (t *tee) Start(s *Start) error {
	for i, sink := range t.sinks {
		if t.note(i, sink.Start(s)); t.err != nil {
			break
		}
	}
	return t.err
}

func (t *tee) Record(r Record) error {
	for i, sink := range t.sinks {
		if !t.failed[i] {
			t.note(i, sink.Record(r))
		}
	}
	return t.err
}

func (t *tee) Flush() error {
	for i, sink := range t.sinks {
		t.note(i, sink.Flush())
	}
	return t.err
}

func (t *tee) End(s *Summary) error {
	for i, sink := range t.sinks {
		t.note(i, sink.End(s))
	}
	return t.err
}

func (t *tee) note(i int, err error) {
	if err == nil {
		return
	}
	t.failed[i] = true
	if t.err == nil {
		t.err = err
	}
}
