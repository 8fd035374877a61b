// SPDX-License-Identifier: Apache-2.0

package process

import (
	"bytes"
	"strconv"
)

// maxParents bounds the threads whose children are looked for.
const maxParents = 64

// HasChildren reports whether a process has children, or has waited for any; that
// is still known while it is a zombie. false can be wrong: a child that has gone to
// another parent leaves no trace, nor does one that nobody waited for.
func (p *Process) HasChildren() bool {
	st, err := p.stat("stat")
	if err != nil {
		return false
	}
	if st.ChildFaults > 0 { // no program runs without a page fault
		return true
	}
	tids, err := p.dir.numbers("task")
	if err != nil {
		return false
	}
	for _, tid := range tids[:min(len(tids), maxParents)] {
		// The file is there with CONFIG_PROC_CHILDREN.
		data, err := p.dir.readSmall("task/" + strconv.Itoa(tid) + "/children")
		if err == nil && len(bytes.TrimSpace(data)) > 0 {
			return true
		}
	}
	return false
}
