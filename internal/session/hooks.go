// SPDX-License-Identifier: Apache-2.0

package session

import (
	"errors"
	"fmt"
	"os"
	"reflect"

	"golang.org/x/sys/unix"

	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/process"
)

// hooks are what is attached in dynamic linkers: they tell of the libraries that
// they load, and new programs wait there.
type hooks struct {
	tracer  *loader.Tracer
	report  *reporter
	targets *targets
	keeper  *keeper
	holding map[fileKey]hook
}

// watchLibraries makes what loads the libraries of a process tell of those that
// are loaded later, and hold programs that are run later.
func (hs *hooks) watchLibraries(t *target, v *view) {
	err := v.linkerErr
	if l := v.linker; l != nil {
		t.direct = l.direct
		err = errors.Join(hs.watchHook(t, l), hs.holdIn(t, l))
	}
	if err != nil && !errors.Is(err, process.ErrNoProcess) && !errors.Is(err, unix.ESRCH) && !over(v.proc, v.modules) {
		hs.report.say("warning: programs and libraries that process %d runs from now on may be seen late or not at all: %v%s", t.pid, err, hs.report.advice(TopicLibrary))
	}
}

// watchHook attaches to what is called when a library has been loaded, once.
func (hs *hooks) watchHook(t *target, l *linker) (err error) {
	reach, pid := hs.targets.reachOf(t)
	if _, watched := reach.linkers[l.id.fileKey]; watched {
		return nil
	}
	var h hook
	switch {
	case l.err != nil:
		err = l.err
	case l.watchable():
		file := l.handle
		if l.hook != nil {
			file = l.hook
		}
		h, err = hs.hookInto(t, l, file, func() (*loader.Attachment, error) {
			return hs.tracer.WatchLibraries(pid, fdPath(file), l.Named[debuggerHook], l.objects)
		})
	case l.unnoticed:
		hs.report.warn(fmt.Sprintf("%s is statically linked and stripped: libraries that it loads by itself (dlopen) are not noticed%s", l.path, hs.report.advice(TopicLibrary)))
	}
	if errors.Is(err, errLater) {
		return nil
	}
	reach.linkers[l.id.fileKey] = h
	return err
}

// holdIn makes programs that start in a dynamic linker wait there, once.
func (hs *hooks) holdIn(t *target, l *linker) error {
	if _, holds := hs.holding[l.id.fileKey]; holds || l.static || l.Entry == 0 {
		return nil
	}
	h, err := hs.hookInto(t, l, l.handle, func() (*loader.Attachment, error) {
		return hs.tracer.HoldExecs(fdPath(l.handle), l.Entry)
	})
	if errors.Is(err, errLater) {
		return nil
	}
	hs.holding[l.id.fileKey] = h
	return err
}

// hookInto attaches something in a linker's file, once that cannot be written to.
func (hs *hooks) hookInto(t *target, l *linker, file *os.File, with func() (*loader.Attachment, error)) (hook, error) {
	g, err := hs.keeper.guardFile(t, file, l.path)
	if err != nil {
		return hook{}, err
	}
	defer g.free()
	if id, err := identify(l.handle); err != nil || id != l.id || !l.settled && !reflect.DeepEqual(readLinkerCode(l.handle, l.static), l.linkerCode) && l.hook == nil {
		return hook{}, errors.Join(err, hs.keeper.later(t, file, l.path))
	}
	at, err := g.attach(nil, with)
	if errors.Is(err, errGivenWay) {
		return hook{}, errLater
	}
	return hook{at, g}, err
}

// drop lets go of what is attached in a dynamic linker, and returns the
// processes that are to be looked at again.
func (hs *hooks) drop(key fileKey) (users map[int]bool) {
	users = make(map[int]bool)
	drop := func(all map[fileKey]hook) bool {
		h, ok := all[key]
		if ok {
			hs.keeper.unhook(h)
			delete(all, key)
		}
		return ok
	}
	held := drop(hs.holding)
	held = drop(hs.targets.shared.linkers) || held
	for _, t := range hs.targets.byPID {
		if drop(t.reach.linkers) || held {
			users[t.pid] = true
		}
	}
	return users
}

// fdPath names an open file for the kernel.
func fdPath(f *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", f.Fd()) }
