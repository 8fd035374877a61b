// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"text/tabwriter"
	"time"
)

// startTable is the time from nothing to attached, and back.
func startTable(ctx context.Context, b *bench) error {
	fmt.Fprintf(b.out, "\nstart and end (median of %d)\n", b.rounds)
	w := tabwriter.NewWriter(b.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "sites\tattach ms\tdetach ms\tcommand to ready ms\t")
	for _, n := range []string{"50", "1000"} {
		var attach, detach, command []float64
		for range b.rounds {
			p, err := b.start("sites" + n)
			if err != nil {
				return err
			}
			a, d, err := startOnce(p)
			attach, detach = append(attach, a), append(detach, d)
			if err == nil && b.binary != "" {
				var c float64
				c, err = b.startCommandOnce(p)
				command = append(command, c)
			}
			if err := errors.Join(err, p.stop(), ctx.Err()); err != nil {
				return err
			}
		}
		fmt.Fprintf(w, "%s\t%.0f\t%.0f\t%.0f\t\n", n, median(attach), median(detach), median(command))
	}
	return w.Flush()
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func startOnce(p *program) (attach, detach float64, err error) {
	t, err := trace(p, nil)
	if err != nil {
		return 0, 0, err
	}
	began := time.Now()
	err = t.Detach(nil)
	took := time.Since(began)
	return ms(t.took), ms(took), errors.Join(err, t.stop())
}

func (b *bench) startCommandOnce(p *program) (float64, error) {
	began := time.Now()
	r, err := b.startCommand(p, "--format", "summary")
	if err != nil {
		return 0, err
	}
	took := time.Since(began)
	return ms(took), r.stop()
}

// scaleTable shows how the cost of a boundary grows with threads, depth and
// sites.
func scaleTable(ctx context.Context, b *bench) error {
	fmt.Fprintf(b.out, "\nscale: ns of a thread's time for one boundary, and boundaries a second of all threads (median of %d)\n", b.rounds)
	w := tabwriter.NewWriter(b.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "threads\tdepth\tuntraced ns\tfloor ns\tfull record ns\tratio\tmillion/s\tlost\t")
	type shape struct{ threads, depth int }
	shapes := []shape{{1, 0}, {2, 0}, {4, 0}, {8, 0}, {16, 0}, {32, 0}, {64, 0}, {1, 8}, {1, 64}}
	if b.short {
		shapes = []shape{{1, 0}, {2, 8}}
	}
	for _, s := range shapes {
		b.progress("%d threads, depth %d", s.threads, s.depth)
		phases := max(b.phases/s.threads, b.phases/4) // a thread's first record costs more
		p, err := b.start("spin", strconv.Itoa(s.threads), strconv.Itoa(phases), "inline", strconv.Itoa(s.depth))
		if err != nil {
			return err
		}
		var none, floor, full, rate []float64
		var lost uint64
		for range b.rounds {
			var l uint64
			var r float64
			if none, err = appendRun(none, p, untraced); err == nil {
				if floor, err = appendRun(floor, p, empty); err == nil {
					full, r, l, err = appendTraced(full, p)
					rate = append(rate, r)
					lost += l
				}
			}
			if err := errors.Join(err, ctx.Err()); err != nil {
				return errors.Join(err, p.stop())
			}
		}
		if err := p.stop(); err != nil {
			return err
		}
		fmt.Fprintf(w, "%d\t%d\t%.1f\t%.0f\t%.0f\t%.2f\t%.2f\t%d\t\n", s.threads, s.depth,
			median(none), median(floor), median(full), paired(full, floor), median(rate)/1e6, lost)
	}
	b.progress("")
	return w.Flush()
}

func appendRun(to []float64, p *program, begin func(*program) (func() error, error)) ([]float64, error) {
	ns, err := once(p, variant{begin: begin})
	return append(to, ns), err
}

// appendTraced runs once with the full record; lost records are counted and are
// not an error: with every CPU busy, the reader may not get to run.
func appendTraced(to []float64, p *program) (_ []float64, rate float64, lost uint64, err error) {
	t, err := trace(p, nil)
	if err != nil {
		return to, 0, 0, err
	}
	began := time.Now()
	n, ns, err := p.spin()
	rate = float64(n) / time.Since(began).Seconds()
	if s, statsErr := t.Stats(); statsErr == nil {
		lost = s.Lost
	}
	stopErr := t.stop()
	if lost > 0 {
		stopErr = nil
	}
	return append(to, ns), rate, lost, errors.Join(err, stopErr)
}
