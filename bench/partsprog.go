// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/phasetrace/phasetrace/internal/probe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"github.com/cilium/ebpf/rlimit"

	"github.com/phasetrace/phasetrace/bench/parts"
	"github.com/phasetrace/phasetrace/internal/loader"
)

// nameRegisters are the offsets in pt_regs of the register that holds a
// marker's name: rsi on x86-64. Elsewhere the compiler chooses.
var nameRegisters = map[probe.Arch]uint32{probe.AMD64: 104}

// bpfFSleepable is BPF_F_SLEEPABLE, include/uapi/linux/bpf.h.
const bpfFSleepable = 1 << 4

// attachPart attaches one of the programs of bench/parts to a program's
// markers, in the way in which phasetrace attaches, and returns what detaches.
// A goroutine empties its ring buffer, unless it is to stay unread.
func attachPart(p *program, name string) (func() error, error) {
	features, err := loader.DetectFeatures(loader.Without{})
	if err != nil {
		return nil, err
	}
	if err := rlimit.RemoveMemlock(); err != nil {
		return nil, err
	}
	sites, err := markerSites(p.path)
	if err != nil {
		return nil, err
	}
	coll, err := loadPart(name, features, sites[0].Arch)
	if err != nil {
		return nil, err
	}
	links, err := attachSites(p, coll.Programs[name], sites, features)
	if err != nil {
		coll.Close()
		return nil, err
	}
	stopDrain := nothing
	if !p.unread {
		stopDrain, err = drainPart(coll.Maps["ring"])
	}
	return func() error {
		var errs []error
		for _, l := range links {
			errs = append(errs, l.Close())
		}
		errs = append(errs, stopDrain())
		coll.Close()
		return errors.Join(errs...)
	}, err
}

func loadPart(name string, features loader.Features, arch probe.Arch) (*ebpf.Collection, error) {
	spec, err := parts.LoadParts()
	if err != nil {
		return nil, err
	}
	if err := spec.Variables["name_register"].Set(nameRegisters[arch]); err != nil {
		return nil, err
	}
	prog := spec.Programs[name]
	if prog == nil {
		return nil, fmt.Errorf("no program %s in bench/parts", name)
	}
	if features.UprobeMulti {
		prog.AttachType = ebpf.AttachTraceUprobeMulti
	}
	if features.Sleepable {
		prog.Flags |= bpfFSleepable
	}
	spec.Programs = map[string]*ebpf.ProgramSpec{name: prog}
	return ebpf.NewCollection(spec)
}

func attachSites(p *program, prog *ebpf.Program, sites []probe.Site, features loader.Features) ([]link.Link, error) {
	ex, err := link.OpenExecutable(p.path)
	if err != nil {
		return nil, err
	}
	if features.UprobeMulti {
		opts := &link.UprobeMultiOptions{PID: uint32(p.pid())}
		for _, s := range sites {
			opts.Addresses = append(opts.Addresses, s.Offset)
			opts.RefCtrOffsets = append(opts.RefCtrOffsets, s.RefCtr)
			opts.Cookies = append(opts.Cookies, uint64(s.ID))
		}
		l, err := ex.UprobeMulti(nil, prog, opts)
		return []link.Link{l}, err
	}
	var links []link.Link
	for _, s := range sites {
		l, err := ex.Uprobe("", prog, &link.UprobeOptions{
			Address: s.Offset, PID: p.pid(), RefCtrOffset: s.RefCtr, Cookie: uint64(s.ID),
		})
		if err != nil {
			return links, err
		}
		links = append(links, l)
	}
	return links, nil
}

// drainPart reads a ring buffer until the returned function is called.
func drainPart(ring *ebpf.Map) (func() error, error) {
	r, err := ringbuf.NewReader(ring)
	if err != nil {
		return func() error { return nil }, err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		var rec ringbuf.Record
		for {
			r.SetDeadline(time.Now().Add(drainInterval))
			var err error
			for err == nil {
				err = r.ReadInto(&rec)
			}
			if errors.Is(err, ringbuf.ErrClosed) {
				return
			}
		}
	}()
	return func() error {
		err := r.Close()
		<-done
		return err
	}, nil
}
