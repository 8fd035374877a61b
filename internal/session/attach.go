// SPDX-License-Identifier: Apache-2.0

package session

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/phasetrace/phasetrace/internal/probe"

	"github.com/phasetrace/phasetrace/internal/stream"

	"github.com/phasetrace/phasetrace/internal/clock"

	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/process"
)

// cpus is the number of CPUs that can run; the machine's possible CPUs may be
// more, never fewer.
func cpus() int { return runtime.NumCPU() }

// prepare looks at the targets and chooses what to trace. It needs no
// privileges beyond reading the targets' files: what the user got wrong is
// said before anything is loaded.
func (s *session) prepare() error {
	if err := s.checkLibraries(); err != nil {
		return err
	}
	var names, skipped []string
	for _, pid := range s.pids() {
		t, err := s.openTarget(pid)
		if err != nil {
			return err
		}
		l, err := s.plan(t)
		l.close()
		if err != nil {
			return err
		}
		names, skipped = append(names, l.names...), append(skipped, l.skipped...)
		if !l.planned() && !t.starting && !s.o.Follow {
			s.choice.warn([]string{fmt.Sprintf("process %d: %v", pid, s.noMarkers(&l))})
		}
	}
	if len(s.choice.sites) == 0 && !s.mayComeLater() {
		return s.noMarkers(&looked{names: names, skipped: skipped})
	}
	return nil
}

// checkLibraries reads the files that the user named.
func (s *session) checkLibraries() error {
	for _, path := range s.o.Libraries {
		f, err := s.files.read(path, func() (*os.File, error) { return openPath(path) })
		if err != nil {
			return fmt.Errorf("--library: %w", err)
		}
		f.handle.Close()
		if len(f.elf.Sites) == 0 {
			return fmt.Errorf("--library: %s: %w in it", path, ErrNoMarkers)
		}
	}
	return nil
}

// mayComeLater reports whether markers are to be expected although there is
// none yet: followed processes run other programs, and a program that is only
// starting loads more libraries, as the java launcher does its virtual machine.
func (s *session) mayComeLater() bool {
	if s.o.Follow {
		return true
	}
	for _, t := range s.targets {
		if t.starting && slices.ContainsFunc(t.modules, func(m process.Module) bool { return isLinker(m.Path) }) {
			s.o.Message("no USDT markers in the program yet; watching the libraries it loads")
			return true
		}
	}
	return false
}

func (s *session) openTarget(pid int) (*attachee, error) {
	if t := s.targets[pid]; t != nil {
		return t, nil
	}
	proc, err := process.Open(pid)
	if err != nil {
		return nil, err // names the process
	}
	t := &attachee{proc: proc, reach: newReach()}
	t.starting = s.o.Spawned != nil && pid == s.o.Spawned.PID
	t.modules, err = proc.Modules()
	switch {
	case errors.Is(err, process.ErrTruncated):
		s.choice.warn([]string{fmt.Sprintf("process %d has more files mapped than are looked at: markers in the rest are not traced", pid)})
	case err != nil:
		proc.Close()
		return nil, err
	}
	s.targets[pid] = t
	p := stream.Process{PID: pid}
	if !slices.Contains(s.pids(), pid) {
		p.Parent = proc.Parent
	}
	if s.o.RankGiven {
		p.Rank, p.RankSource = s.o.Rank, "--rank"
	}
	fillProcess(&p, proc, s.o)
	s.engine.AddProcess(p)
	return t, nil
}

// lookAhead reads the libraries that a program that starts is about to load,
// so that their markers are attached before they are mapped.
func (s *session) lookAhead(l *looked, proc *process.Process) {
	env, _ := proc.Environ("LD_LIBRARY_PATH", "LD_PRELOAD")
	search := process.Search{
		Root:        fmt.Sprintf("/proc/%d/root", proc.PID),
		LibraryPath: env["LD_LIBRARY_PATH"],
		Preload:     strings.FieldsFunc(env["LD_PRELOAD"], func(r rune) bool { return r == ' ' || r == ':' }),
		Read:        readDynamic,
	}
	libs, err := search.ResolveLibraries(proc.Exe)
	if err != nil {
		l.skipped = append(l.skipped, err.Error())
	}
	for _, lib := range libs {
		if lib.Err == nil && lib.HostPath != "" {
			s.files.lookPath(l, lib.Path, lib.HostPath)
		}
	}
}

func (s *session) noMarkers(l *looked) error {
	var b strings.Builder
	if s.choice.refused > 0 {
		fmt.Fprintf(&b, "%s left alone because this kernel cannot probe their nops safely (\"phasetrace doctor -p PID\" explains; --unsafe-nops attaches all the same): ", count(s.choice.refused, "site"))
	}
	if len(s.o.Pairs) > 0 {
		names := make([]string, len(s.o.Pairs))
		for i, p := range s.o.Pairs {
			names[i] = p.String()
		}
		fmt.Fprintf(&b, "none of the probes of %s in ", strings.Join(names, ", "))
	} else {
		b.WriteString("looked at ")
	}
	b.WriteString(list(l.names))
	if len(l.skipped) > 0 {
		fmt.Fprintf(&b, "; could not read %s", list(l.skipped))
	}
	return fmt.Errorf("%w: %s (\"phasetrace list -p PID\" shows every probe there is)", ErrNoMarkers, b.String())
}

// list names a few things and counts the rest.
func list(names []string) string {
	const shown = 8
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) == 0 {
		return "no file"
	}
	if len(names) > shown {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:shown], ", "), len(names)-shown)
	}
	return strings.Join(names, ", ")
}

// start loads the programs and attaches everything that is planned.
func (s *session) start() error {
	began := time.Now()
	opts := loader.Options{
		RingBytes: s.o.RingBytes, AllProcesses: s.o.Follow, FollowForks: s.o.Follow, Without: s.o.Without,
	}
	if s.queue.gpu != nil {
		opts.WakeInterval = gpuWakeInterval
	}
	s.count.options(&opts)
	var err error
	if s.tracer, err = loader.Open(opts); err != nil {
		return err
	}
	for _, t := range s.targets {
		if err := s.tracer.AddTarget(t.proc.PID); err != nil {
			return err
		}
		if err := s.attachTo(t); err != nil {
			return err
		}
	}
	if len(s.choice.sites) > 0 && s.attached.sites == 0 {
		return fmt.Errorf("attach: no site could be attached: %s", list(s.attached.failed))
	}
	if s.o.Follow {
		if err := s.adopt(); err != nil {
			return err
		}
	}
	if err := s.count.begin(); err != nil {
		return err
	}
	s.started = clock.Monotonic()
	s.queue.started = s.started
	if err := s.o.Sink.Start(s.startRecord()); err != nil {
		return err // names what could not be written
	}
	s.tellWarnings()
	if s.o.Attached != nil {
		err := s.o.Attached(Attached{
			Message:    s.attachedMessage(time.Since(began)),
			NeedsAdmin: !s.tracer.Features().UprobeMulti,
		})
		if err != nil {
			return err
		}
	}
	s.tellSampler()
	if s.o.Spawned != nil {
		return s.o.Spawned.Release()
	}
	return nil
}

func (s *session) startRecord() *stream.Start {
	host, _ := os.Hostname()
	r := &stream.Start{
		Time: s.started, Unix: s.clock.At(s.started), SessionID: s.o.SessionID, Host: host,
		Version: s.o.Version, Kernel: kernelRelease(), Processes: s.engine.Processes(),
		Pairs: s.choice.infos(), GPUStatus: s.o.GPUStatus,
	}
	if s.queue.gpu != nil {
		r.Devices = s.queue.gpu.devices
	}
	return r
}

func (s *session) attachedMessage(took time.Duration) string {
	var who []string
	for _, p := range s.engine.Processes() {
		who = append(who, fmt.Sprintf("%s (pid %d)", p.Comm, p.PID))
	}
	if s.attached.sites == 0 {
		return fmt.Sprintf("watching %s, where nothing is to be attached yet, in %s", list(who), took.Round(time.Millisecond))
	}
	return fmt.Sprintf("attached to %s: %s, %s in %s, in %s", list(who),
		count(len(s.choice.pairs), "pair"), count(s.attached.sites, "site"), count(s.attached.files, "file"),
		took.Round(time.Millisecond))
}

// count is a number with its noun.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func (s *session) tellWarnings() {
	for _, w := range slices.Concat(s.choice.warnings[s.warned:], s.attached.failed) {
		s.o.Message("warning: " + w)
	}
	s.warned, s.attached.failed = len(s.choice.warnings), nil
}

// plan chooses what to trace of the files that a process has mapped, or is
// about to, and returns them. The caller closes them.
func (s *session) plan(t *attachee) (looked, error) {
	l := s.files.look(t.modules)
	if t.starting {
		s.lookAhead(&l, t.proc)
	}
	for _, path := range s.o.Libraries {
		s.files.lookPath(&l, path, path)
	}
	return l, s.choice.plan(&l)
}

// attachTo attaches the planned sites of the files that a process has mapped,
// or is about to, and that are not attached for it yet.
func (s *session) attachTo(t *attachee) error {
	l, err := s.plan(t)
	defer l.close()
	if err != nil {
		return err
	}
	t.unread = len(l.skipped)
	s.tellUnread(t, &l)
	for _, f := range l.open {
		if err := s.attachFile(t, f, l.pairs); err != nil {
			return err
		}
	}
	s.watchLibraries(t)
	return nil
}

// tellUnread tells, once, of files of a living process whose markers, if they
// have any, are not traced.
func (s *session) tellUnread(t *attachee, l *looked) {
	if len(l.unread) == 0 || t.proc.Alive() != nil {
		return
	}
	// A process that ends gives up its memory before its root directory: if it has
	// memory still, that is not why a file could not be read.
	if mapped, err := t.proc.Modules(); err != nil && !errors.Is(err, process.ErrTruncated) || len(mapped) == 0 {
		return
	}
	before := len(s.choice.warnings) + s.choice.unsaid
	s.choice.warn(l.unread)
	s.unread += len(s.choice.warnings) + s.choice.unsaid - before
}

// wants reports whether a process's pairs use a site.
func (s *session) wants(pairs []*pair, site uint32) bool {
	in := s.choice.sites[site]
	return slices.ContainsFunc(pairs, func(p *pair) bool { return in.pair == p || slices.Contains(in.over, p) })
}

func (s *session) attachFile(t *attachee, f openFile, pairs []*pair) error {
	reach, pid := s.reachOf(t)
	var todo []probe.Site
	for _, p := range f.plan {
		if !reach.sites[p.ID] && s.wants(pairs, p.ID) {
			reach.sites[p.ID] = true
			todo = append(todo, p)
		}
	}
	if len(todo) == 0 {
		return nil
	}
	failed, err := s.tracer.Attach(pid, f.attachPath(), todo)
	if err != nil {
		return err
	}
	now, boot := clock.Monotonic(), uint64(clock.Boot())
	s.engine.Attached(pid, todo, now, boot)
	bad := make(map[uint32]bool)
	for _, e := range failed {
		bad[e.Site] = true
		site := s.choice.sites[e.Site]
		s.attached.failures++
		s.attached.failed = append(s.attached.failed,
			fmt.Sprintf("%s:%s at %s+%#x: %v", site.Provider, site.Probe, f.path, site.Offset, e.Err))
		if errors.Is(e.Err, loader.ErrPermission) {
			return e.Err
		}
	}
	for _, p := range todo {
		if site := s.choice.sites[p.ID]; !bad[p.ID] {
			site.attached, site.gate, site.since = true, now, boot
		}
	}
	s.attached.sites += len(todo) - len(failed)
	s.attached.files++
	return s.count.tell()
}
