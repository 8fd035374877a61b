// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/phasetrace/phasetrace/internal/probe"

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
func (t *Tracer) Attach(pid int, path string, sites []probe.Site) (failed []SiteError, err error) {
	ex, err := link.OpenExecutable(path)
	if err != nil {
		return nil, fmt.Errorf("attach to %s: %w", path, err)
	}
	bound, failed, err := t.bind(sites)
	if err != nil {
		return failed, err
	}
	groups := make(map[*ebpf.Program][]boundSite)
	for _, s := range bound {
		groups[s.program] = append(groups[s.program], s)
	}
	for prog, group := range groups {
		failed = append(failed, t.attachGroup(ex, pid, prog, group)...)
	}
	return failed, nil
}

// boundSite is a site and the program that serves it.
type boundSite struct {
	probe.Site
	binding
}

// binding is the place of a spec: a program, and its number there.
type binding struct {
	program *ebpf.Program
	number  uint32
}

func (b boundSite) cookie() uint64 { return cookie(b.ID, b.number) }

// bind finds or makes the programs that serve sites.
func (t *Tracer) bind(sites []probe.Site) (bound []boundSite, failed []SiteError, err error) {
	specs := make([]siteSpec, 0, len(sites))
	for _, s := range sites {
		spec, err := compile(s)
		if err == nil {
			err = t.fits(s)
		}
		if err != nil {
			failed = append(failed, SiteError{s.ID, err})
			continue
		}
		specs = append(specs, spec)
		bound = append(bound, boundSite{Site: s})
	}
	if err := t.makePrograms(specs); err != nil {
		return nil, failed, err
	}
	for i := range bound {
		b := &bound[i]
		b.binding = t.bindings[specs[i]]
		for int(b.ID) >= len(t.decoder.shapes) {
			t.decoder.shapes = append(t.decoder.shapes, shape{})
		}
		t.decoder.shapes[b.ID] = shapeOf(b.Site)
	}
	return bound, failed, nil
}

// makePrograms makes programs for the specs that have none yet.
func (t *Tracer) makePrograms(specs []siteSpec) error {
	var fresh []siteSpec
	queued := make(map[siteSpec]bool)
	for _, s := range specs {
		if _, ok := t.bindings[s]; !ok && !queued[s] {
			queued[s] = true
			fresh = append(fresh, s)
		}
	}
	for chunk := range slices.Chunk(fresh, specsPerProgram) {
		prog, err := t.loadMarker(chunk)
		if err != nil {
			return err
		}
		for i, s := range chunk {
			t.bindings[s] = binding{prog, uint32(i)}
		}
	}
	return nil
}

// loadMarker loads a marker program that serves specs.
func (t *Tracer) loadMarker(specs []siteSpec) (*ebpf.Program, error) {
	body := generateFetch(specs, t.features.Sleepable)
	programs, _, err := t.loadPrograms(func(p *ebpf.ProgramSpec) (err error) {
		t.asMarker(p)
		p.Instructions, err = replaceFetch(p.Instructions, body)
		return err
	}, t.markerName())
	return programs[t.markerName()], err
}

// attachGroup attaches the sites that share a program. Where the kernel
// refuses them as a whole they are tried one by one, to name the culprit.
func (t *Tracer) attachGroup(ex *link.Executable, pid int, prog *ebpf.Program, sites []boundSite) []SiteError {
	if t.features.UprobeMulti {
		l, err := attachMulti(ex, pid, prog, sites)
		if err == nil {
			t.keep(pid, l)
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
		t.keep(pid, l)
	}
	return failed
}

func (t *Tracer) keep(pid int, l link.Link) {
	t.links = append(t.links, l)
	if pid != 0 {
		t.ofProcess[pid] = append(t.ofProcess[pid], l)
	}
}

// DetachProcess removes the probes that were attached for one process alone,
// and does not wait for it: the kernel does the removing first and then waits
// until no program runs, which may be one that ReleaseExec has to let go. The
// probes are of no more use when a thread other than the main one has run exec:
// the kernel keeps to the main thread that there was, whose end leaves them
// half alive.
func (t *Tracer) DetachProcess(pid int) {
	for _, l := range t.ofProcess[pid] {
		t.links = slices.DeleteFunc(t.links, func(o link.Link) bool { return o == l })
		t.closing.Go(func() {
			t.detaching <- struct{}{}
			_ = l.Close() // a descriptor's: nothing to do about an error
			<-t.detaching
		})
	}
	delete(t.ofProcess, pid)
}

func (t *Tracer) attachOne(ex *link.Executable, pid int, prog *ebpf.Program, s boundSite) (link.Link, error) {
	if t.features.UprobeMulti {
		return attachMulti(ex, pid, prog, []boundSite{s})
	}
	return ex.Uprobe("", prog, &link.UprobeOptions{
		Address: s.Offset, PID: pid, RefCtrOffset: s.RefCtr, Cookie: s.cookie(),
	})
}

func attachMulti(ex *link.Executable, pid int, prog *ebpf.Program, sites []boundSite) (link.Link, error) {
	opts := &link.UprobeMultiOptions{PID: uint32(pid)}
	for _, s := range sites {
		opts.Addresses = append(opts.Addresses, s.Offset)
		opts.RefCtrOffsets = append(opts.RefCtrOffsets, s.RefCtr)
		opts.Cookies = append(opts.Cookies, s.cookie())
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
		programs, _, err := t.loadPrograms(func(p *ebpf.ProgramSpec) error {
			if t.features.UprobeMulti {
				asMulti(p)
			}
			return nil
		}, bpf.PhasetraceProgLibraryChange)
		if err != nil {
			return err
		}
		t.library = programs[bpf.PhasetraceProgLibraryChange]
	}
	l, err := t.attachOne(ex, pid, t.library, boundSite{Site: probe.Site{Offset: offset}})
	if err != nil {
		return fmt.Errorf("watch for libraries: %w", explainAttach(err))
	}
	t.keep(pid, l)
	return nil
}

// Links returns how many links hold the attached sites.
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
	clear(t.ofProcess)
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		errs []error
		done int
	)
	for _, l := range all {
		wg.Go(func() {
			t.detaching <- struct{}{}
			err := l.Close()
			<-t.detaching
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
	t.closing.Wait()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("detach: %w", err)
	}
	return nil
}
