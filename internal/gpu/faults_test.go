// SPDX-License-Identifier: Apache-2.0

package gpu

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Every failure of a read: its status on the sample, no value, one message, and
// the other device untouched.
func TestFailingReads(t *testing.T) {
	for _, status := range []Status{
		StatusNoDriver, StatusNoDevice, StatusNotReady, StatusLost, StatusResetRequired, StatusNotSupported,
		StatusNoPermission, StatusMissingSymbol, StatusNotAvailable, StatusClosed, StatusError,
	} {
		t.Run(status.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := NewFake(2)
				f.SetUsed(1, 5)
				s, p := startFake(f, Options{})
				defer closeSampler(t, s)
				pass(time.Second)
				s.Take(nil)
				f.SetStatus(0, status)
				for range 100 {
					s.Kick()
					pass(300 * time.Millisecond)
				}
				healthy := 0
				for _, x := range s.Take(nil) {
					if x.Device == 1 {
						healthy++
						if x.Used != Bytes(5) {
							t.Fatalf("sample of the healthy device: %+v", x)
						}
					} else if x.Status != status || x.Used.Known || x.Free.Known || x.Total.Known || x.Reserved.Known {
						t.Fatalf("sample of the failing device: %+v", x)
					}
				}
				if healthy < 100 {
					t.Errorf("only %d samples of the healthy device", healthy)
				}
				if reads, _ := f.Calls(0); reads > 40 {
					t.Errorf("read the failing device %d times in 30 s, with no back-off", reads)
				}
				if n := p.count(0, status, false); n != 1 || len(p.list) != 1 {
					t.Errorf("reported %+v, want one message", p.list)
				}
				f.SetUsed(0, 9)
				pass(DefaultRetryInterval + time.Second)
				if x := last(t, s.Take(nil), 0); x.Used != Bytes(9) {
					t.Errorf("after the failure passed: %+v", x)
				}
				if p.count(0, status, true) != 1 {
					t.Errorf("the recovery was not reported: %+v", p.list)
				}
			})
		})
	}
}

func TestHangingCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewFake(2)
		s, p := startFake(f, Options{PIDs: []int{1}})
		defer closeSampler(t, s)
		pass(100 * time.Millisecond)
		release := f.Hang(0)
		defer release()
		for range 100 { // ten seconds of boundaries
			s.Kick()
			pass(100 * time.Millisecond)
		}
		if n := f.Hanging(0); n != 2 {
			t.Errorf("%d calls hang, want 1 for memory and 1 for the process list", n)
		}
		samples := s.Take(nil)
		if x := last(t, samples, 0); x.Status != StatusTimeout || x.Used.Known {
			t.Errorf("sample during the hang: %+v", x)
		}
		if x := last(t, samples, 1); x.Status != StatusOK || bubbleNow()-x.Mid > int64(200*time.Millisecond) {
			t.Errorf("the other device stood still: %+v", x)
		}
		lists := map[int]Status{}
		for _, x := range s.TakeProcesses(nil) {
			lists[x.Device] = x.Status
		}
		if lists[0] != StatusTimeout || lists[1] != StatusNotListed {
			t.Errorf("process lists during the hang: %v", lists)
		}
		release()
		s.Kick()
		pass(DefaultProcessInterval)
		for _, x := range s.Take(nil) {
			if x.Status == StatusOK && x.Latency() > int64(DefaultDeadline) {
				t.Errorf("the value of the hung read was kept: %+v", x)
			}
		}
		s.Kick()
		pass(2 * time.Minute) // the list that hung is paid for like any other
		if x := last(t, s.Take(nil), 0); x.Status != StatusOK {
			t.Errorf("after the hang: %+v", x)
		}
		// One message for memory and one for the list, in both directions.
		if p.count(0, StatusTimeout, false) != 2 || p.count(0, StatusTimeout, true) != 2 || len(p.list) != 4 {
			t.Errorf("reported %+v", p.list)
		}
	})
}

func TestCloseDuringHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewFake(1)
		release := f.Hang(0)
		s, _ := startFake(f, Options{})
		pass(time.Second)
		before := bubbleNow()
		if err := s.Close(); StatusOf(err) != StatusTimeout {
			t.Errorf("Close = %v, want a timeout", err)
		}
		if waited := bubbleNow() - before; waited != int64(DefaultDeadline) {
			t.Errorf("Close waited %v", time.Duration(waited))
		}
		if f.Closed() {
			t.Error("the source was closed under a call")
		}
		release()
		synctest.Wait()
		if !f.Closed() {
			t.Error("the source was not closed after its last call")
		}
		closeSampler(t, s)
	})
}

func TestOpeningIsRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, p, tries := NewFake(1), &problems{}, 0
		s := StartOpening(func() (Source, error) {
			if tries++; tries < 4 {
				return nil, &Error{Op: "open", Status: StatusNoDriver}
			}
			return f, nil
		}, Options{Now: bubbleNow, Report: p.add})
		if err := s.Opened(t.Context()); StatusOf(err) != StatusNoDriver {
			t.Errorf("Opened = %v", err)
		}
		s.Kick()
		if s.Devices() != nil || len(s.Take(nil)) != 0 {
			t.Error("devices before the source is open")
		}
		pass(time.Minute)
		if len(s.Devices()) != 1 || len(s.Take(nil)) == 0 {
			t.Error("no devices after the source could be opened")
		}
		if p.count(-1, StatusNoDriver, false) != 1 || p.count(-1, StatusNoDriver, true) != 1 {
			t.Errorf("reported %+v", p.list)
		}
		closeSampler(t, s)
		if !f.Closed() {
			t.Error("the source was not closed")
		}
	})
}

func TestOpeningIsNotRetriedInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		s := StartOpening(func() (Source, error) {
			tries++
			return nil, &Error{Op: "open", Status: StatusMismatch}
		}, Options{Now: bubbleNow})
		defer closeSampler(t, s)
		pass(time.Hour)
		if tries != 1 {
			t.Errorf("tried %d times", tries)
		}
	})
}

func TestOpeningHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, p, gate := NewFake(1), &problems{}, make(chan struct{})
		s := StartOpening(func() (Source, error) { <-gate; return f, nil }, Options{Now: bubbleNow, Report: p.add})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := s.Opened(ctx); StatusOf(err) != StatusTimeout {
			t.Errorf("Opened = %v", err)
		}
		s.Kick()
		s.Take(nil)
		if p.count(-1, StatusTimeout, false) != 1 {
			t.Errorf("reported %+v", p.list)
		}
		close(gate)
		pass(time.Second)
		if len(s.Take(nil)) == 0 {
			t.Error("no samples after the hang")
		}
		closeSampler(t, s)
	})
}

func TestMessages(t *testing.T) {
	for s := range numStatuses {
		if s.String() == "" || s.What() == "" {
			t.Errorf("status %d has no text", s)
		}
		err := &Error{Op: "read memory of GPU 3", Status: s, Code: 999}
		if text := err.Error(); !strings.HasPrefix(text, "read memory of GPU 3: ") || strings.Contains(text, "\n") {
			t.Errorf("message %q", text)
		}
		if StatusOf(err) != s {
			t.Errorf("StatusOf(%v) = %v", s, StatusOf(err))
		}
	}
	if StatusOf(errors.New("x")) != StatusError || StatusOf(nil) != StatusOK || Status(200).String() != "error" {
		t.Error("statuses of other errors")
	}
}
