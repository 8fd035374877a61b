// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

var (
	checkpointLine = regexp.MustCompile(`checkpoint complete: wrote ([0-9]+) buffers.* total=([0-9.]+) s`)
	// autovacuumLine is of a vacuum or an analyze: each is a transaction.
	autovacuumLine = regexp.MustCompile(`(?s)automatic (vacuum|analyze) of table "postgres\.public\.bloat".*?elapsed: ([0-9.]+) s`)
)

// shownFrom is what --min-duration of the page's command is.
const shownFrom = 30 * time.Millisecond

// askDisturbance has a checkpoint and a vacuum of autovacuum's while clients work, and
// holds both against the server's log and its statistics.
func askDisturbance(b *bench, protocol string, commands []string) (*answer, error) {
	if _, err := b.query("checkpoint", "update bloat set note = 'z' || note"); err != nil {
		return nil, err
	}
	_, from, err := b.logged(0)
	if err != nil {
		return nil, err
	}
	before, err := b.checkpoints()
	if err != nil {
		return nil, err
	}
	text, err := b.trace(commands[0], func() error { return b.disturb(protocol, from) })
	if err != nil {
		return nil, err
	}
	if err := b.setting("autovacuum", "off"); err != nil {
		return nil, err
	}
	after, err := b.checkpoints()
	if err != nil {
		return nil, err
	}
	log, _, err := b.logged(from)
	if err != nil {
		return nil, err
	}
	a := &answer{}
	judgeCheckpoint(a, text, log, int(after-before))
	judgeVacuum(a, text, log)
	return a, nil
}

// disturb has clients work, and meanwhile a checkpoint and a vacuum.
func (b *bench) disturb(protocol string, from int) error {
	done := make(chan error, 1)
	go func() {
		done <- b.pgbench(protocol, "\\set id random(1, 1000)\nupdate small set n = n + 1 where id = :id;\n", "-c2", "-R100", "-T6")
	}()
	_, err := b.query("checkpoint")
	if err == nil {
		_, err = b.query("alter table bloat set (autovacuum_enabled = true, autovacuum_vacuum_threshold = 0, autovacuum_vacuum_scale_factor = 0)")
	}
	if err == nil {
		err = b.setting("autovacuum", "on")
	}
	if err == nil {
		err = within(7*time.Second, "autovacuum", func() bool {
			log, _, err := b.logged(from)
			return err == nil && autovacuumLine.MatchString(log)
		})
	}
	if err == nil {
		_, err = b.query("alter table bloat set (autovacuum_enabled = false)")
	}
	if failed := <-done; failed != nil {
		return failed
	}
	return err
}

// checkpoints returns how many the server says that somebody has asked for.
func (b *bench) checkpoints() (float64, error) {
	if major, _, _ := strings.Cut(b.release, "."); len(major) == 2 && major < "17" {
		return b.number("select checkpoints_req from pg_stat_bgwriter")
	}
	return b.number("select num_requested from pg_stat_checkpointer")
}

// judgeCheckpoint holds the lines of checkpoints against the server's log.
func judgeCheckpoint(a *answer, text, log string, asked int) {
	logged := checkpointLine.FindAllStringSubmatch(log, -1)
	if len(logged) != asked || asked != 1 {
		a.differs("the server has counted %d checkpoints and logged %d: want 1", asked, len(logged))
		return
	}
	written, total := logged[0][1], seconds(logged[0][2])
	shown := lines(text, "<- checkpoint ", "written="+written+" ")
	a.text = fmt.Sprintf("checkpoint %v, %s buffers", shownDuration(shown), written)
	a.text += fmt.Sprintf(" (%v, %s)", total, written)
	if want := total >= shownFrom; len(shown) != 1 && want {
		a.differs("%d lines of a checkpoint that wrote %s buffers, want 1", len(shown), written)
		return
	}
	if off := shownDuration(shown) - total; off < -5*time.Millisecond || off > total/10+5*time.Millisecond {
		a.differs("the checkpoint took %v, the log says %v", shownDuration(shown), total)
	}
}

// judgeVacuum holds the lines of autovacuum's transactions against the server's log. A
// transaction has more than what the log counts: it waits for locks and empties what is
// left of the table.
func judgeVacuum(a *answer, text, log string) {
	shown := lines(text, "autovacuum", "<- transaction", "public.bloat\"")
	found := 0
	for _, m := range autovacuumLine.FindAllStringSubmatch(log, -1) {
		total := seconds(m[2])
		if total < shownFrom {
			continue // it may be shown or not
		}
		found++
		took := shownDuration(shown)
		a.text += fmt.Sprintf("; auto%s of bloat %v (%v)", m[1], took, total)
		if off := took - total; off < -10*time.Millisecond || off > total/4+50*time.Millisecond {
			a.differs("auto%s took %v, the log says %v", m[1], took, total)
		}
		if len(shown) > 0 {
			shown = shown[1:]
		}
	}
	if found == 0 {
		a.differs("autovacuum has not come, or took less than %v", shownFrom)
	}
}

func seconds(text string) time.Duration {
	s, _ := strconv.ParseFloat(text, 64)
	return time.Duration(math.Round(s*1e6)) * time.Microsecond
}

var durationColumn = regexp.MustCompile(`<- .*?  +([0-9.]+) (ns|µs|ms|s)\b`)

// shownDuration returns the duration of the first of a stream's lines, 0 for none.
func shownDuration(lines []string) time.Duration {
	if len(lines) == 0 {
		return 0
	}
	m := durationColumn.FindStringSubmatch(lines[0])
	if m == nil {
		return 0
	}
	d, err := time.ParseDuration(m[1] + m[2])
	if err != nil {
		return 0
	}
	return d
}
