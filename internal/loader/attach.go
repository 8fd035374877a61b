// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"fmt"
	"maps"
	"slices"

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
func (t *Tracer) Attach(pid int, path string, sites []probe.Site) (at *Attachment, failed []SiteError, err error) {
	ex, err := link.OpenExecutable(path)
	if err != nil {
		return nil, nil, fmt.Errorf("attach to %s: %w", path, err)
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
		links, bad := t.attachGroup(ex, pid, prog, group)
		at.links, failed = append(at.links, links...), append(failed, bad...)
		at.programs = append(at.programs, prog)
	}
	return t.attached.keep(at), failed, nil
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
		bound[i].binding = t.bindings[specs[i]]
	}
	t.learn(bound)
	return bound, failed, nil
}

// learn makes the reader able to decode the records of sites, before there can
// be any.
func (t *Tracer) learn(sites []boundSite) {
	table := slices.Clone(*t.shapes.Load())
	for i := range sites {
		for int(sites[i].ID) >= len(table) {
			table = append(table, shape{})
		}
		table[sites[i].ID] = shapeOf(sites[i].Site)
	}
	t.shapes.Store(&table)
}

// Forget lets go of sites whose attachment has been removed, once all their
// records have been read: their numbers can be used again.
func (t *Tracer) Forget(sites []uint32) {
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
		p.Instructions, err = replaceFetch(p.Instructions, body)
		return err
	}, t.markerName())
	return programs[t.markerName()], err
}

// dropPrograms makes no new site be served by these programs.
func (t *Tracer) dropPrograms(programs []*ebpf.Program) {
	maps.DeleteFunc(t.bindings, func(_ siteSpec, b binding) bool { return slices.Contains(programs, b.program) })
}

// attachGroup attaches the sites that share a program. Where the kernel
// refuses them as a whole they are tried one by one, to name the culprit.
func (t *Tracer) attachGroup(ex *link.Executable, pid int, prog *ebpf.Program, sites []boundSite) (links []link.Link, failed []SiteError) {
	if t.features.UprobeMulti {
		l, err := attachMulti(ex, pid, prog, sites)
		if err == nil {
			return []link.Link{l}, nil
		}
		if len(sites) == 1 {
			return nil, []SiteError{{sites[0].ID, explainAttach(err)}}
		}
	}
	for i := range sites {
		l, err := t.attachOne(ex, pid, prog, sites[i])
		if err != nil {
			failed = append(failed, SiteError{sites[i].ID, explainAttach(err)})
			continue
		}
		links = append(links, l)
	}
	return links, failed
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

// WatchLibraries makes a process tell, with a Library event, whenever its
// dynamic linker has changed the list of its libraries. offset is the file
// offset, in the dynamic linker at path, of the function that it calls for
// debuggers then.
func (t *Tracer) WatchLibraries(pid int, path string, offset uint64) (*Attachment, error) {
	ex, err := link.OpenExecutable(path)
	if err != nil {
		return nil, fmt.Errorf("watch for libraries: %w", err)
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
	l, err := t.attachOne(ex, pid, t.library, boundSite{Site: probe.Site{Offset: offset}})
	if err != nil {
		return nil, fmt.Errorf("watch for libraries: %w", explainAttach(err))
	}
	return t.attached.keep(newAttachment([]link.Link{l})), nil
}
