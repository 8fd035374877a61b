// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"syscall"

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

// Uncounted is a site that was attached without its counter (the marker's
// semaphore), because another tracer has a probe there that has none: the kernel
// takes one counter, or none, for all probes of a place. So this site's marker
// fires only while something else raises the counter.
type Uncounted struct {
	Site uint32 // Site.ID
	By   string // what is known of the other tracer, for a person
}

// Attach puts probes under the sites of one file. pid is the process in
// phasetrace's own PID namespace; 0 attaches for every process that maps the
// file, now or later. path must stay openable during the call; the kernel
// keeps the file itself afterwards.
//
// A site that cannot be attached is returned in failed; the others are attached.
// The error is for what stops all of them.
func (t *Tracer) Attach(pid int, path string, sites []probe.Site) (at *Attachment, failed []SiteError, err error) {
	ex, err := link.OpenExecutable(path)
	if err != nil {
		return nil, nil, fmt.Errorf("attach to %s: %w", path, explainAttach(err))
	}
	bound, failed, err := t.bind(sites)
	if err != nil {
		return nil, failed, err
	}
	groups := make(map[*ebpf.Program][]boundSite)
	for _, s := range bound {
		groups[s.program] = append(groups[s.program], s)
	}
	at = newAttachment(nil)
	for prog, group := range groups {
		a := attacher{Tracer: t, ex: ex, path: path, pid: pid, program: prog}
		a.attach(group)
		at.links, failed = append(at.links, a.links...), append(failed, a.failed...)
		at.uncounted = append(at.uncounted, a.uncounted...)
		at.programs = append(at.programs, prog)
	}
	return t.attached.keep(at), failed, nil
}

// Prepare loads the programs that will serve sites, which is most of what
// attaching to them takes. What cannot be attached is told by Attach.
func (t *Tracer) Prepare(sites []probe.Site) error {
	_, _, err := t.bind(sites)
	return err
}

// boundSite is a site and the program that serves it.
type boundSite struct {
	probe.Site
	binding
	cookie uint64 // what the kernel hands to the program there
}

// binding is the place of a spec: a program, and its number there.
type binding struct {
	program *ebpf.Program
	number  uint32
}

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
		bound[i].binding = t.bindings[specs[i]]
		bound[i].cookie = markerCookie(bound[i])
	}
	t.learn(bound)
	return bound, failed, nil
}

// learn makes the reader able to decode the records of sites, before there can
// be any.
func (t *Tracer) learn(sites []boundSite) {
	t.learning.Lock()
	defer t.learning.Unlock()
	table := slices.Clone(*t.shapes.Load())
	for i := range sites {
		for int(sites[i].ID) >= len(table) {
			table = append(table, shape{})
		}
		table[sites[i].ID] = shapeOf(sites[i].Site).keeping(table[sites[i].ID])
	}
	t.shapes.Store(&table)
}

// Forget lets go of sites whose attachment has been removed, once all their
// records have been read: their numbers can be used again. It may be called while
// sites are attached.
func (t *Tracer) Forget(sites []uint32) {
	t.learning.Lock()
	defer t.learning.Unlock()
	table := slices.Clone(*t.shapes.Load())
	for _, id := range sites {
		if int(id) < len(table) {
			table[id] = shape{}
		}
	}
	t.shapes.Store(&table)
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
		p.Instructions, err = replaceFetch(p.Instructions, body, t.features.Sleepable)
		return err
	}, t.markerName())
	return programs[t.markerName()], err
}

// dropPrograms keeps new sites from using these programs.
func (t *Tracer) dropPrograms(programs []*ebpf.Program) {
	maps.DeleteFunc(t.bindings, func(_ siteSpec, b binding) bool { return slices.Contains(programs, b.program) })
}

// attacher attaches the sites that share a program.
type attacher struct {
	*Tracer
	ex      *link.Executable
	path    string
	pid     int
	program *ebpf.Program

	links     []link.Link
	uncounted []Uncounted
	failed    []SiteError
}

// attach attaches sites. Those that the kernel refuses as a whole are tried in
// halves, to find the culprits in few steps.
func (a *attacher) attach(sites []boundSite) {
	switch {
	case !a.features.UprobeMulti && len(sites) > 1:
		for i := range sites {
			a.attach(sites[i : i+1])
		}
		return
	case len(sites) == 1:
		a.attachSite(sites[0])
		return
	}
	l, err := attachMulti(a.ex, a.pid, a.program, sites)
	switch {
	case err == nil:
		a.links = append(a.links, l)
	case concernsAll(err):
		for _, s := range sites {
			a.failed = append(a.failed, SiteError{s.ID, explainAttach(err)})
		}
	default:
		a.attach(sites[:len(sites)/2])
		a.attach(sites[len(sites)/2:])
	}
}

// attachSite attaches one site; without its counter where another tracer's probe
// is in the way.
func (a *attacher) attachSite(s boundSite) {
	l, err := a.attachOne(a.ex, a.pid, a.program, s)
	if errors.Is(err, syscall.EINVAL) && s.RefCtr != 0 {
		bare := s
		bare.RefCtr = 0
		var bareErr error
		if l, bareErr = a.attachOne(a.ex, a.pid, a.program, bare); bareErr == nil {
			a.uncounted = append(a.uncounted, Uncounted{s.ID, rivalAt(a.path, s.Offset)})
			err = nil
		}
	}
	if err != nil {
		a.failed = append(a.failed, SiteError{s.ID, explainAttach(err)})
		return
	}
	a.links = append(a.links, l)
}

// concernsAll reports whether an error would be the same for every site.
func concernsAll(err error) bool {
	for _, of := range []error{os.ErrNotExist, syscall.ESRCH, syscall.EPERM, syscall.EACCES, syscall.ENOMEM} {
		if errors.Is(err, of) {
			return true
		}
	}
	return outOfFiles(err)
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

// WatchLibraries sends a Library event whenever a process's dynamic linker has
// changed its list of libraries. offset is the file offset, in the dynamic linker
// at path, of the function it then calls for debuggers; list says where the list
// is, so that events can name what was added.
func (t *Tracer) WatchLibraries(pid int, path string, offset uint64, list ObjectList) (*Attachment, error) {
	ex, err := link.OpenExecutable(path)
	if err != nil {
		return nil, fmt.Errorf("watch for libraries: %w", explainAttach(err))
	}
	if t.library == nil {
		programs, _, err := t.loadPrograms(func(p *ebpf.ProgramSpec) error {
			if t.features.UprobeMulti {
				asMulti(p)
			}
			return nil
		}, bpf.PhasetraceProgLibraryChange)
		if err != nil {
			return nil, err
		}
		t.library = programs[bpf.PhasetraceProgLibraryChange]
	}
	l, err := t.attachOne(ex, pid, t.library, list.at(offset))
	if err != nil {
		return nil, fmt.Errorf("watch for libraries: %w", explainAttach(err))
	}
	return t.attached.keep(newAttachment([]link.Link{l})), nil
}
