// SPDX-License-Identifier: Apache-2.0

package human

// Colour is a terminal colour. It emphasises what the text says and is never the
// only sign.
type Colour string

// The colours used.
const (
	Bold   Colour = "\x1b[1m"
	Dim    Colour = "\x1b[2m"
	Red    Colour = "\x1b[1;31m"
	Green  Colour = "\x1b[32m"
	Yellow Colour = "\x1b[33m"
	Cyan   Colour = "\x1b[36m"

	reset = "\x1b[0m"
)

// Palette colours text, or leaves it alone when it is false.
type Palette bool

// Paint returns s in the colour.
func (p Palette) Paint(c Colour, s string) string {
	if !p {
		return s
	}
	return string(c) + s + reset
}

// Begin appends the start of a colour; End its end.
func (p Palette) Begin(dst []byte, c Colour) []byte {
	if !p {
		return dst
	}
	return append(dst, c...)
}

// End appends the end of a colour.
func (p Palette) End(dst []byte) []byte {
	if !p {
		return dst
	}
	return append(dst, reset...)
}

// ColourWanted reports whether to colour output: only on a terminal that is not
// "dumb", and not when NO_COLOR is set to anything but the empty string.
// getenv is os.Getenv.
func ColourWanted(terminal bool, getenv func(string) string) bool {
	return terminal && getenv("NO_COLOR") == "" && getenv("TERM") != "dumb"
}
