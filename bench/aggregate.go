// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"math"
	"os"

	"github.com/phasetrace/phasetrace/internal/probe"

	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/usdt"
)

// counted attaches phasetrace's programs that count phases in the kernel, as
// --aggregate does. What it returns detaches and checks that they counted.
func counted(p *program) (func() error, error) {
	sites, err := markerSites(p.path)
	if err != nil {
		return nil, err
	}
	t, err := loader.Open(loader.Options{Aggregate: true})
	if err != nil {
		return nil, err
	}
	constants, err := constantMemory(p.path)
	if err == nil {
		err = attachCounted(t, p, sites, constants)
	}
	if err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return func() error {
		err := t.Detach(nil)
		a, readErr := t.Counts().Read()
		if readErr == nil && (len(a.Paths) != 2 || a.Paths[1].Ended == 0 || a.Paths[1].Ended != a.Paths[1].Entered) {
			err = errors.Join(err, fmt.Errorf("counted %+v", a))
		}
		return errors.Join(err, readErr, t.Close())
	}, nil
}

// constantMemory returns the largest part of a file that is mapped read-only.
func constantMemory(path string) (largest usdt.Range, err error) {
	f, err := os.Open(path)
	if err != nil {
		return largest, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return largest, err
	}
	elf, err := usdt.Read(f, info.Size())
	if err != nil {
		return largest, err
	}
	for _, r := range elf.Constant {
		if r.End-r.Start > largest.End-largest.Start {
			largest = r
		}
	}
	return largest, nil
}

func attachCounted(t *loader.Tracer, p *program, sites []probe.Site, constants usdt.Range) error {
	var hows []loader.AggregateSite
	for i := range sites {
		s := &sites[i]
		how := loader.AggregateSite{Site: s.ID, Role: s.Effect, Token: true, Gate: 1}
		how.Constant[0] = loader.RelativeRange{Low: constants.Start - s.Location, Len: constants.End - constants.Start}
		token := s.Captures[0]
		if s.Effect == probe.Enter {
			name := probe.Capture{Operand: s.Captures[2].Operand, Type: probe.CaptureInt}
			s.Captures, how.Name, how.NameSlot = []probe.Capture{token, name}, loader.NameString, 1
		}
		hows = append(hows, how)
	}
	if err := t.Counts().PutSites(hows); err != nil {
		return err
	}
	if err := t.AddTarget(p.pid()); err != nil {
		return err
	}
	_, failed, err := t.Attach(p.pid(), p.path, sites)
	if len(failed) > 0 {
		err = failed[0]
	}
	return errors.Join(err, t.Counts().Until(math.MaxInt64))
}
