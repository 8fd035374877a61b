// SPDX-License-Identifier: Apache-2.0

package session

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"

	"github.com/phasetrace/phasetrace/internal/process"
	"github.com/phasetrace/phasetrace/internal/usdt"
)

// missed tells of libraries that were gone before anybody looked.
type missed struct {
	plan    *plan
	files   *files
	targets *targets
	report  *reporter
	foreign bool // as target.foreign, for some target
}

// passed are the files of a view that were loaded and are not mapped any more, and
// that no probe was in then.
func (m *missed) passed(t *target, v *view) (out []*file) {
	for _, f := range v.loaded {
		mapped := slices.ContainsFunc(v.open, func(o openFile) bool { return o.file == f && o.module != nil })
		if !mapped && !m.targets.covers(t, f) && !(v.newer[f] && m.targets.coversNamesake(t, f)) {
			out = append(out, f)
		}
	}
	return out
}

// tellPassed counts files that were gone before anybody looked, now that those with
// markers to trace are attached.
func (m *missed) tellPassed(passed []*file, v *view) {
	for _, f := range passed {
		if len(f.plan) > 0 {
			m.report.shortfall.passed++
			m.report.warn(fmt.Sprintf("%s was loaded and unloaded before it could be looked at: its markers until then are missing, from now on they are traced%s",
				f.path, m.report.advice(TopicLibrary)))
		}
	}
	for _, name := range v.lost {
		m.tellLost(name)
	}
}

func (m *missed) tellLost(name string) {
	m.report.shortfall.unread += m.report.warn(fmt.Sprintf("%s was loaded, and gone before it could be looked at: it is not known whether it has markers%s",
		name, m.report.advice(TopicLibrary)))
}

// endedWith counts what may have been missed of a process that ended, or is about
// to, before the libraries could be looked at that it had just loaded.
func (m *missed) endedWith(c change) {
	t := m.targets.byPID[c.pid]
	foreign := m.foreign
	if t != nil {
		foreign = t.foreign
	}
	for _, name := range c.added.names {
		switch {
		case path.Base(name) == name:
		case foreign || !path.IsAbs(name):
			m.tellLost(name)
		default:
			m.endedWithFile(t, c.pid, name)
		}
	}
	if c.added.unnamed {
		m.report.shortfall.unnamed++
	}
}

func (m *missed) endedWithFile(t *target, pid int, name string) {
	f, err := m.files.read(name, func() (*os.File, error) { return openPath(name) })
	switch {
	case errors.Is(err, usdt.ErrNotELF), errors.Is(err, usdt.ErrUnsupportedELF):
		return
	case err != nil:
		m.tellLost(name)
		return
	}
	f.handle.Close()
	if !m.plan.traces(f.file) || m.targets.covers(t, f.file) {
		return
	}
	m.report.shortfall.passed++
	m.report.warn(fmt.Sprintf("%s was loaded by a process that ended before it could be looked at (%d was the first): its markers there are missing%s",
		name, pid, m.report.advice(TopicLibrary)))
}

// shares notes whether the same names mean the same files to a process and to us.
func (m *missed) shares(t *target, proc *process.Process) {
	same, err := proc.SharesFiles()
	t.foreign = !same && err == nil
	m.foreign = m.foreign || t.foreign
}

// traces reports whether pairs of a file would be traced if a process had it alone.
func (c *plan) traces(f *file) bool {
	return slices.ContainsFunc(usdt.Choose(f.elf.Sites, c.cfg.Pairs), func(ch usdt.Choice) bool {
		return ch.Chosen && c.mode.refuses(ch.Pair) == nil
	})
}
