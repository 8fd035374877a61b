// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"math"
	"regexp"
	"strings"
	"time"
)

// acquired is what the server logs of a wait for a lock that took longer than
// deadlock_timeout.
var acquired = regexp.MustCompile(`process ([0-9]+) acquired (\w+) on (\w+) .*?after ([0-9.]+) ms`)

const (
	holdTime    = time.Second
	lockWaiters = 3
)

// lockTypes are the server's words for what pg_locks calls otherwise.
var lockTypes = map[string]string{"transaction": "transactionid"}

// askLocks has clients wait for a row that a transaction holds for a known time, and
// holds each wait against the server's log.
func askLocks(b *bench, protocol string, commands []string) (*answer, error) {
	_, from, err := b.logged(0)
	if err != nil {
		return nil, err
	}
	text, err := b.trace(commands[0], func() error {
		held := make(chan error, 1)
		go func() {
			_, err := b.query("begin", "update small set n = n where id = 1", fmt.Sprintf("select pg_sleep(%v)", holdTime.Seconds()), "commit")
			held <- err
		}()
		err := within(5*time.Second, "the row to be locked", func() bool {
			n, err := b.number("select count(*) from pg_stat_activity where wait_event = 'PgSleep'")
			return err == nil && n == 1
		})
		if err == nil {
			err = b.pgbench(protocol, "update small set n = n + 1 where id = 1;\n", fmt.Sprintf("-c%d", lockWaiters), "-t1")
		}
		if failed := <-held; failed != nil {
			return failed
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	log, _, err := b.logged(from)
	if err != nil {
		return nil, err
	}
	return judgeLocks(text, log), nil
}

func judgeLocks(text, log string) *answer {
	a := &answer{}
	var answers []string
	waits := 0
	for _, m := range acquired.FindAllStringSubmatch(log, -1) {
		pid, mode, kind, logged := m[1], m[2], m[3], seconds(m[4])/1000
		if logged < 26*time.Millisecond { // the page's command shows those of more than 25 ms
			continue
		}
		if name, ok := lockTypes[kind]; ok {
			kind = name
		}
		waits++
		shown := lines(text, " "+pid+" ", "<- wait for lock", `type="`+kind+`"`, `mode="`+mode+`"`, `sql="update small set n`)
		if len(shown) != 1 {
			a.differs("%d lines of %s, which waited for a %s on a %s in its update", len(shown), pid, mode, kind)
			continue
		}
		took := shownDuration(shown)
		answers = append(answers, fmt.Sprintf("%s %s %v (%v)", kind, mode, took, logged))
		if math.Abs(float64(took-logged)) > float64(logged)/50+float64(time.Millisecond) {
			a.differs("%s waited %v, the log says %v", pid, took, logged)
		}
	}
	if waits < lockWaiters {
		a.differs("the server has logged %d waits, want at least one each of %d clients", waits, lockWaiters)
	}
	a.text = strings.Join(answers, ", ")
	return a
}
