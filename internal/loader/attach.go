// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/phasetrace/phasetrace/bpf"
)

// SiteError is a site that could not be attached.
type SiteError struct {
	Site uint32 // Site.ID
	Err  error
}

func (e SiteError) Error() string { return fmt.Sprintf("site %d: %v", e.Site, e.Err) }

// Unwrap returns the cause.
func (e SiteError) Unwrap() error { return e.Err }

// Attach puts probes under the sites of one file. pid is the process in
// phasetrace's own PID namespace; 0 attaches for every process that maps the
// file, now or later. path must stay openable during the call; the kernel
// keeps the file itself afterwards.
//
// A site that cannot be attached does not keep the others from it: it is
// returned in failed. The error is for what stops all of them.
func (t *Tracer) Attach(pid int, path string, sites []Site) (failed []SiteError, err error) {
	ex, err := link.OpenExecutable(path)
	if err != nil {
		return nil, fmt.Errorf("attach to %s: %w", path, err)
	}
	groups := make(map[*ebpf.Program][]boundSite)
	for _, s := range sites {
		prog, c, err := t.bind(s)
		if err != nil {
			failed = append(failed, SiteError{s.ID, err})
			continue
		}
		groups[prog] = append(groups[prog], boundSite{s, c})
	}
	for _, prog := range slices.Collect(maps.Keys(groups)) {
		failed = append(failed, t.attachGroup(ex, pid, prog, groups[prog])...)
	}
	return failed, nil
}

type boundSite struct {
	Site
	cookie uint64
}

// bind finds or makes the program that serves a site.
func (t *Tracer) bind(s Site) (*ebpf.Program, uint64, error) {
	spec, err := s.compile()
	if err != nil {
		return nil, 0, err
	}
	n, fresh := t.table.add(spec)
	if n >= bpfMaxSpecs {
		return nil, 0, fmt.Errorf("more than %d different ways to read arguments in one run", bpfMaxSpecs)
	}
	if fresh {
		if err := t.maps[bpf.PhasetraceMapArgumentSpecs].Put(n, spec); err != nil {
			return nil, 0, fmt.Errorf("store the argument spec: %w", err)
		}
	}
	prog, err := t.programFor(n, spec)
	if err != nil {
		return nil, 0, err
	}
	for int(s.ID) >= len(t.shapes) {
		t.shapes = append(t.shapes, shape{})
	}
	t.shapes[s.ID] = s.shape()
	return prog, cookie(s.ID, n), nil
}

// bpfMaxSpecs is MAX_SPECS of bpf/event.h.
const bpfMaxSpecs = 1024

func (t *Tracer) programFor(n uint32, spec bpf.PhasetraceSiteSpec) (*ebpf.Program, error) {
	if p := t.bySpec[n]; p != nil {
		return p, nil
	}
	if t.opts.Without.Constants || len(t.bySpec) >= maxConstantPrograms {
		return t.anyProgram()
	}
	if err := t.spec.Variables[bpf.PhasetraceVarConstantSpec].Set(spec); err != nil {
		return nil, fmt.Errorf("set the constant spec: %w", err)
	}
	programs, _, err := t.loadPrograms(t.asMarker, bpf.PhasetraceProgMarkerOne)
	if err != nil {
		return nil, err
	}
	t.bySpec[n] = programs[bpf.PhasetraceProgMarkerOne]
	return t.bySpec[n], nil
}

func (t *Tracer) anyProgram() (*ebpf.Program, error) {
	if t.any == nil {
		programs, _, err := t.loadPrograms(t.asMarker, bpf.PhasetraceProgMarkerAny)
		if err != nil {
			return nil, err
		}
		t.any = programs[bpf.PhasetraceProgMarkerAny]
	}
	return t.any, nil
}

// attachGroup attaches the sites that share a program. Where the kernel
// refuses them as a whole they are tried one by one, to name the culprit.
func (t *Tracer) attachGroup(ex *link.Executable, pid int, prog *ebpf.Program, sites []boundSite) []SiteError {
	if t.features.UprobeMulti {
		l, err := attachMulti(ex, pid, prog, sites)
		if err == nil {
			t.links = append(t.links, l)
			return nil
		}
		if len(sites) == 1 {
			return []SiteError{{sites[0].ID, explainAttach(err)}}
		}
	}
	var failed []SiteError
	for i := range sites {
		l, err := t.attachOne(ex, pid, prog, sites[i])
		if err != nil {
			failed = append(failed, SiteError{sites[i].ID, explainAttach(err)})
			continue
		}
		t.links = append(t.links, l)
	}
	return failed
}

func (t *Tracer) attachOne(ex *link.Executable, pid int, prog *ebpf.Program, s boundSite) (link.Link, error) {
	if t.features.UprobeMulti {
		return attachMulti(ex, pid, prog, []boundSite{s})
	}
	return ex.Uprobe("", prog, &link.UprobeOptions{
		Address: s.Offset, PID: pid, RefCtrOffset: s.RefCtr, Cookie: s.cookie,
	})
}

func attachMulti(ex *link.Executable, pid int, prog *ebpf.Program, sites []boundSite) (link.Link, error) {
	opts := &link.UprobeMultiOptions{PID: uint32(pid)}
	for _, s := range sites {
		opts.Addresses = append(opts.Addresses, s.Offset)
		opts.RefCtrOffsets = append(opts.RefCtrOffsets, s.RefCtr)
		opts.Cookies = append(opts.Cookies, s.cookie)
	}
	return ex.UprobeMulti(nil, prog, opts)
}

// WatchLibraries makes a process tell, with a KindLibrary event, whenever its
// dynamic linker has changed the list of its libraries. offset is the file
// offset, in the dynamic linker at path, of the function that it calls for
// debuggers then.
func (t *Tracer) WatchLibraries(pid int, path string, offset uint64) error {
	ex, err := link.OpenExecutable(path)
	if err != nil {
		return fmt.Errorf("watch for libraries: %w", err)
	}
	if t.library == nil {
		programs, _, err := t.loadPrograms(func(p *ebpf.ProgramSpec) {
			if t.features.UprobeMulti {
				asMulti(p)
			}
		}, bpf.PhasetraceProgLibraryChange)
		if err != nil {
			return err
		}
		t.library = programs[bpf.PhasetraceProgLibraryChange]
	}
	l, err := t.attachOne(ex, pid, t.library, boundSite{Site: Site{Offset: offset}})
	if err != nil {
		return fmt.Errorf("watch for libraries: %w", explainAttach(err))
	}
	t.links = append(t.links, l)
	return nil
}

// Sites returns how many links hold the attached sites.
func (t *Tracer) Links() int { return len(t.links) }

// detachers bounds how many links are closed at once: each waits for the
// kernel's grace period, so that waiting side by side is what helps.
const detachers = 64

// Detach removes every probe; the programs run no more when it returns.
// progress, if not nil, is called with the number of links removed and their
// total, from one goroutine at a time. Unread records stay readable.
func (t *Tracer) Detach(progress func(done, total int)) error {
	all := append(t.links, t.hooks...)
	t.links, t.hooks = nil, nil
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		errs  []error
		done  int
		slots = make(chan struct{}, detachers)
	)
	for _, l := range all {
		wg.Go(func() {
			slots <- struct{}{}
			err := l.Close()
			<-slots
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, err)
			done++
			if progress != nil {
				progress(done, len(all))
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("detach: %w", err)
	}
	return nil
}
