// SPDX-License-Identifier: Apache-2.0

package engine

// kernelCount relates the kernel's count of a lane to its open scopes. The kernel
// adds enters and subtracts exits. It does not know that a program left a scope
// without an exit, nor that an exit ended nothing. At every record of the lane
// without a gap before it, the kernel's count is the level of the innermost open
// scope, plus owed where that scope is older than the exits owed.
type kernelCount struct {
	depth int32 // as the kernel counted it, at the last delivered marker
	// shift is added to what a scope's enter counted: what has been counted since
	// for scopes inside it that are gone.
	shift int32
	// owed are exits of scopes that a repair closed, which may still come and be
	// subtracted; the scopes that were open then have numbers up to owedSince.
	owed      int32
	owedSince uint64
	// comes: such exits have come, so the program exits out of order. Otherwise
	// it may just leave scopes without their exits.
	comes bool
	// stray: exits have come that ended nothing.
	stray bool
}

// level is the kernel's count while a scope is the innermost of its lane, and
// nothing is owed.
func (c *kernelCount) level(sc *scope) int32 { return sc.depth + c.shift }

// due is what is owed for scopes that were closed while sc was already open.
func (c *kernelCount) due(sc *scope) int32 {
	if sc.token.Scope() > c.owedSince {
		return 0
	}
	return c.owed
}

// left notes that n scopes inside all that are open have ended without an exit.
func (c *kernelCount) left(n int) { c.shift += int32(n) }

// unused notes an exit that ended nothing.
func (c *kernelCount) unused() {
	c.shift--
	c.stray = true
}

// owe notes that a repair has closed n scopes whose exits may still come. number
// is the recorder's latest.
func (t *scopes) owe(ln *lane, n int, number uint64) {
	t.writeOff(ln)
	if t.newest(ln) != nil {
		ln.count.owed, ln.count.owedSince = int32(n), number
	}
}

// paid notes that n exits of scopes that a repair had closed have come, seen or
// not.
func (t *scopes) paid(ln *lane, n int32) {
	c := &ln.count
	known := min(n, c.owed)
	t.younger(ln, known)
	c.owed -= known
	c.shift -= n - known
}

// writeOff assumes that the exits owed never come.
func (t *scopes) writeOff(ln *lane) {
	c := &ln.count
	t.younger(ln, c.owed)
	c.shift += c.owed
	c.owed = 0
}

// younger subtracts n from the depth of scopes that were entered while exits were
// already owed.
func (t *scopes) younger(ln *lane, n int32) {
	if n == 0 {
		return
	}
	for _, st := range ln.stacks {
		for i := st.Depth() - 1; i >= 0; i-- {
			sc := t.at(st, i)
			if sc.token.Scope() <= ln.count.owedSince {
				break
			}
			sc.depth -= n
		}
	}
}
