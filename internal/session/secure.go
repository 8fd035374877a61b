// SPDX-License-Identifier: Apache-2.0

package session

import (
	"errors"
	"fmt"
)

// secure makes certain that a file is what was read, and stays so while probes are
// in it.
func (a *attacher) secure(t *target, f openFile, pid int) (*guard, error) {
	for _, old := range a.targets.filesOf(f.key) {
		if old != f.file {
			a.outdated(old)
		}
	}
	if g := f.guard.Load(); g != nil && g.keeps() {
		return g, nil
	}
	g, err := a.keeper.guardFile(t, f.handle, f.path)
	if err != nil {
		return nil, err
	}
	if same, err := a.files.same(f); err != nil || !same {
		g.free()
		a.files.forget(f.file)
		return nil, errors.Join(err, a.keeper.later(t, f.handle, f.path))
	}
	if who := a.keeper.old.shownBy(f, pid); who != 0 {
		g.free()
		a.report.warn(stillShown(f.path, who))
		return nil, a.keeper.laterBy(t, f.handle, f.path, lastWait)
	}
	return g, nil
}

func stillShown(path string, pid int) string {
	who := fmt.Sprintf("process %d shows", pid)
	if pid < 0 {
		who = "some process may show"
	}
	return fmt.Sprintf("%s the contents that %s had before it was written to in place: what is in it now is traced once that is over", who, path)
}

// outdated lets go of contents that have been written over although nothing kept
// them from it.
func (a *attacher) outdated(f *file) {
	if g := f.guard.Load(); g != nil {
		go g.giveWay() // and what is in the file now comes after that
		return
	}
	a.releaser.drop(f)
}
