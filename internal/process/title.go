// SPDX-License-Identifier: Apache-2.0

package process

import (
	"bytes"
	"path"
	"strings"
	"unicode/utf8"
)

// MaxTitle bounds a title, in bytes.
const MaxTitle = 255

// Title is what the program says that it is, in place of its command line: servers
// write there what each of their processes does, "postgres: checkpointer". It is as of
// the last look; "" where the command line is the one that the program was given.
func (p *Process) Title() string { return p.title }

// TitleOf reads the title of a process as it is now. comm and exe are its name and its
// executable, "" where they are not known. The kernel reads it from the memory of the
// process, so the call can hang for as long as that likes.
func TitleOf(pid int, comm, exe string) (string, error) {
	dir, err := openProcDir(pid)
	if err != nil {
		return "", err
	}
	defer dir.close()
	data, _, err := dir.read("cmdline", MaxCmdline)
	if err != nil {
		return "", err
	}
	return titleOf(data, comm, exe), nil
}

// TitleIn finds the title in the start of the memory where a process got its arguments,
// which had that size then, and behind them its environment. A title that is longer
// than the arguments goes on in the environment's place.
func TitleIn(memory []byte, arguments int, comm, exe string) string {
	end := bytes.IndexByte(memory, 0)
	switch {
	case end <= 0 || arguments <= 0:
		return "" // if there is one, it is longer than what is known of it
	case arguments <= len(memory) && memory[arguments-1] == 0:
		memory = memory[:arguments]
	case arguments <= len(memory): // the same rule as the kernel's, for /proc/PID/cmdline
		memory = memory[:end]
	}
	return titleOf(memory, comm, exe)
}

// titleOf says whether a program has written a title over its command line. That
// leaves one text where there were several, with what is left of the room behind it
// cleared, or one that no program is called by.
func titleOf(cmdline []byte, comm, exe string) string {
	first, rest, _ := bytes.Cut(cmdline, []byte{0})
	cleared := len(bytes.Trim(rest, "\x00 ")) == 0
	text := strings.TrimRight(string(first), " \n")
	if !cleared || text == "" || text == exe || text == comm || path.Base(text) == path.Base(exe) {
		return ""
	}
	if len(rest) == 0 && !strings.ContainsAny(text, " :") {
		return "" // an argument, whatever else it may look like
	}
	if len(text) > MaxTitle {
		n := MaxTitle
		for n > MaxTitle-utf8.UTFMax && !utf8.RuneStart(text[n]) {
			n--
		}
		text = text[:n]
	}
	return text
}
