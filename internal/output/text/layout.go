// SPDX-License-Identifier: Apache-2.0

package text

// FileWidth is the width, in columns, in which strings are laid out where there is
// no terminal. With titles it is TitledFileWidth: servers have long statements.
const (
	FileWidth       = 160
	TitledFileWidth = 200
)

// layout says how a line is divided. It depends on the terminal's width, and on whether
// processes have titles, so that no column moves because of what is in the lines.
type layout struct {
	titled bool // the column of threads has room for titles of processes
	// width is the most columns that a line has; 0 cuts no line, only the strings
	// of programs in it.
	width int
	room  int // in which strings are laid out, in columns of a line
	time, thread,
	phase int // widths of columns; phase is of indentation, arrow and name
	indent int // levels; deeper phases show their depth
}

// narrowBelow is the width below which columns are narrow.
const narrowBelow = 110

// The narrowest layout has room for a name, a duration and a short detail in 80
// columns.
const (
	gap           = 2 // between columns
	minName       = 8
	minAttributes = 12
	durationWidth = 8
)

// Widths of the column of threads with titles. In the narrowest an id of five digits
// leaves room for "autovacuum worker", in the widest for "app shop 10.0.0.15(53412)".
const (
	titleNarrow, titleLeast, titleMost = 24, 28, 32
)

// layoutFor returns the layout for a terminal of so many columns; 0: for a file. titled
// says that there are several processes, and that some have titles.
func layoutFor(width int, titled bool) layout {
	l := layout{titled: titled, width: width, room: width, time: 12, thread: 20, phase: 34, indent: 12}
	switch {
	case width <= 0:
		l.width, l.room = 0, FileWidth
	case width < narrowBelow:
		l.time, l.thread, l.phase, l.indent = 11, 16, 22, 6
	}
	if titled {
		switch {
		case l.width == 0:
			l.thread, l.room = titleMost, TitledFileWidth
		case width < narrowBelow:
			l.thread, l.phase = titleNarrow, 20
		default:
			l.thread = min(max(width/4, titleLeast), titleMost)
		}
	}
	l.squeeze()
	return l
}

// squeeze makes room for a duration where the terminal is too narrow for one: cut, it
// would lose its unit. Names of phases give way first, then those of threads.
func (l *layout) squeeze() {
	for _, c := range []struct {
		width *int
		least int
	}{{&l.phase, len("-> ") + minName}, {&l.thread, minName}} {
		over := l.before() + l.phase + gap + durationWidth - l.width
		if l.width == 0 || over <= 0 {
			return
		}
		*c.width = max(*c.width-over, c.least)
		l.indent = min(l.indent, l.phase/4)
	}
}

// before is the number of columns before the phase.
func (l *layout) before() int { return l.time + gap + l.thread + gap }

// fit bounds the width of a string that begins in a column.
func (l *layout) fit(most, column int) int {
	if l.width == 0 {
		return most
	}
	return max(min(most, l.width-column), minName)
}
