// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/phasetrace/phasetrace/internal/usdt"
)

// judgePairs says, for every pair with a requirement, whether it is met, and
// returns how many of the chosen pairs can never fire.
func (s *subject) judgePairs() (cs []Check, dead int) {
	for i := range s.listing.Choices {
		ch := &s.listing.Choices[i]
		if ch.Chosen && s.noneFires(ch.EnterSites) {
			dead++
			continue
		}
		if ch.Pair.Requires == "" || len(ch.EnterSites) == 0 {
			continue
		}
		c := Check{
			Group: GroupProcess, Name: "pair:" + ch.Pair.Provider + ":" + ch.Pair.Enter, Purpose: "have the probes fire",
			Count: len(ch.EnterSites) + len(ch.ExitSites),
		}
		c.Result, c.Detail = s.fires(&ch.Pair, s.files(ch))
		if c.Result != OK {
			c.Remedy = ch.Pair.Requires
		}
		if !ch.Chosen {
			c.Detail += "; not traced by default"
		} else if c.Result == Missing {
			dead++
		}
		cs = append(cs, c)
	}
	return cs, dead
}

// noneFires reports whether every one of some sites is dead whatever the
// program does, because it has a semaphore that cannot be raised.
func (s *subject) noneFires(sites []int) bool {
	for _, i := range sites {
		if site := &s.listing.Sites[i]; site.Semaphore == 0 || site.RefCtr != 0 {
			return false
		}
	}
	return true
}

// files returns the paths of the files that have a pair's enter probe.
func (s *subject) files(ch *usdt.Choice) []string {
	var paths []string
	for _, site := range ch.EnterSites {
		paths = append(paths, s.listing.Files[s.listing.Owner[site]].Path)
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

// fires decides whether the probes of a pair can fire in this process, going by
// its files, command line and environment.
func (s *subject) fires(p *usdt.PairSpec, files []string) (Result, string) {
	switch p.Provider {
	case "python":
		return s.pythonFires(files)
	case "php":
		return s.phpFires()
	case "hotspot", "hs_private":
		return s.hotspotFires(p)
	}
	return Unknown, "cannot be seen from outside"
}

var pythonVersion = regexp.MustCompile(`python(\d+)\.(\d+)`)

// pythonFires goes by the version in the name of the file with the probes or,
// where that has none, of any other file of the process.
func (s *subject) pythonFires(files []string) (Result, string) {
	for _, f := range s.listing.Files {
		files = append(files, f.Path)
	}
	for i, f := range files {
		if i < len(files)-len(s.listing.Files) {
			f = path.Base(f) // the folder may be named after another version
		}
		m := pythonVersion.FindStringSubmatch(f)
		if m == nil {
			continue
		}
		major, _ := strconv.Atoi(m[1])
		minor, _ := strconv.Atoi(m[2])
		version := fmt.Sprintf("CPython %d.%d", major, minor)
		switch {
		case major == 3 && minor >= 6 && minor <= 10:
			return OK, version + " fires them"
		case major == 3 && (minor == 11 || minor == 12):
			return Missing, version + " never fires them"
		}
		return Unknown, version + ": not known whether it fires them"
	}
	return Unknown, "no file name of the process shows the version of CPython"
}

// phpVariable makes PHP fire its probes when it is a number other than 0.
const phpVariable = "USE_ZEND_DTRACE"

func (s *subject) phpFires() (Result, string) {
	value, set := s.env[phpVariable]
	switch {
	case s.envErr != nil && !set:
		return Unknown, "the environment cannot be read: " + s.envErr.Error()
	case !set:
		return Missing, phpVariable + " is not set in its environment"
	case !startsNumber(value):
		return Missing, fmt.Sprintf("%s is %q, which PHP treats as off", phpVariable, value)
	}
	return OK, fmt.Sprintf("%s=%s", phpVariable, value)
}

// startsNumber reports whether C's strtol with base 0 turns a text into a number
// other than 0.
func startsNumber(s string) bool {
	s = strings.TrimLeft(s, " \t\n\v\f\r")
	s = strings.TrimLeft(s, "+-")
	if hex, ok := strings.CutPrefix(strings.ToLower(s), "0x"); ok {
		hex = strings.TrimLeft(hex, "0")
		return hex != "" && strings.ContainsRune("123456789abcdef", rune(hex[0]))
	}
	digits := "123456789"
	if strings.HasPrefix(s, "0") {
		digits = "1234567" // octal
	}
	s = strings.TrimLeft(s, "0")
	return s != "" && strings.ContainsRune(digits, rune(s[0]))
}

// javaVariables hold options of the JVM, the first read first.
var javaVariables = []string{"JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS"}

// hotspotFires looks for the options that switch the probes on; the last one
// counts.
func (s *subject) hotspotFires(p *usdt.PairSpec) (Result, string) {
	wanted := []string{"ExtendedDTraceProbes"}
	switch {
	case strings.HasPrefix(p.Enter, "method__"):
		wanted = append(wanted, "DTraceMethodProbes")
	case strings.HasPrefix(p.Enter, "monitor__"):
		wanted = append(wanted, "DTraceMonitorProbes")
	}
	options, hidden := s.javaOptions()
	state := make(map[string]bool)
	for _, o := range options {
		for _, w := range wanted {
			if rest, ok := strings.CutPrefix(o, "-XX:"); ok && strings.TrimLeft(rest, "+-") == w {
				state[w] = rest[0] == '+'
			}
		}
	}
	for _, w := range wanted {
		if state[w] {
			return OK, "-XX:+" + w + " is given"
		}
	}
	switch {
	case s.envErr != nil:
		return Unknown, "not among the arguments, and the environment cannot be read: " + s.envErr.Error()
	case hidden != "":
		return Unknown, fmt.Sprintf("not among the arguments; %s may hold it", hidden)
	}
	return Missing, "no -XX:+" + strings.Join(wanted, " or -XX:+") + " was given"
}

// javaOptions returns the JVM's options in the order in which it reads them, and
// what may name a file with more.
func (s *subject) javaOptions() (options []string, hidden string) {
	for _, name := range javaVariables[:2] {
		options = append(options, strings.Fields(s.env[name])...)
	}
	options = append(options, jvmArguments(s.cmdline)...)
	options = append(options, strings.Fields(s.env[javaVariables[2]])...)
	for _, o := range options {
		if strings.HasPrefix(o, "@") || strings.HasPrefix(o, "-XX:Flags=") || strings.HasPrefix(o, "-XX:VMOptionsFile=") {
			return options, o
		}
	}
	if len(s.cmdline) == 0 || !strings.HasPrefix(path.Base(s.cmdline[0]), "java") {
		hidden = "the program that started the JVM" // by the invocation interface
	}
	return options, hidden
}

// jvmArguments returns the arguments of java before the program's own.
func jvmArguments(cmdline []string) []string {
	var out []string
	for i := 1; i < len(cmdline); i++ {
		a := cmdline[i]
		switch {
		case slices.Contains([]string{"-cp", "-classpath", "--class-path", "-p", "--module-path", "--add-modules",
			"--upgrade-module-path", "--add-exports", "--add-opens", "--add-reads", "--limit-modules", "--patch-module"}, a):
			i++ // takes the next argument
		case a == "-jar", a == "-m", a == "--module":
			return out
		case strings.HasPrefix(a, "-"), strings.HasPrefix(a, "@"):
			out = append(out, a)
		default:
			return out // the main class
		}
	}
	return out
}
