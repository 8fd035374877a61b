// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// top is the repository, seen from this package.
const top = "../.."

// TestDocumentedCommands holds every command of the documentation against what there
// is: phasetrace takes it, flags and their values included; make has its target; go
// finds its package, its tests and its flags; files that it names exist.
func TestDocumentedCommands(t *testing.T) {
	checked := make(map[string]int)
	for page, text := range pages(t) {
		for _, line := range commands(text) {
			for _, words := range split(line) {
				program, err := checkCommand(words)
				if err != nil {
					t.Errorf("%s: %s: %v", page, line, err)
				}
				checked[program]++
			}
		}
	}
	for program, least := range map[string]int{"phasetrace": 40, "make": 15, "go": 15} {
		if checked[program] < least {
			t.Errorf("only %d commands of %s found, want %d", checked[program], program, least)
		}
	}
}

// The test above finds what it is for.
func TestDocumentedCommandsCanFail(t *testing.T) {
	for _, line := range []string{
		"phasetrace lst -p PID", "sudo phasetrace -p PID --folow", "phasetrace -p PID -d 10", "phasetrace -p PID --by ranks",
		"phasetrace -p PID --where 'phase>step'", "phasetrace -p PID --pair 'app:begin/end;nam=x'", "phasetrace -p PID -o x.csv",
		"phasetrace doctor FILE", "phasetrace run --follow -- ./train && phasetrace run -p PID -- x", "phasetrace list --by rank FILE",
		"make tset", "go test ./internal/engin", "go test ./internal/engine -run TestScenarioz", "go test ./internal/engine -bench Nothing",
		"go run ./bench -onyl cost", "sudo tools/test-as-usr.sh", "mkdir -p build && ./phasetrace demo -p 1", "go test ./internal/gpu -update",
	} {
		failed := false
		for _, words := range split(line) {
			if _, err := checkCommand(words); err != nil {
				failed = true
			}
		}
		if !failed {
			t.Errorf("nothing wrong is found in: %s", line)
		}
	}
}

var (
	fence   = regexp.MustCompile("(?ms)^( *)```([a-z]*)\n(.*?)^ *```$")
	inline  = regexp.MustCompile("`([^`\n]+)`")
	command = regexp.MustCompile(`^(sudo |\./|env )*(phasetrace|make|go (test|run|vet)|tools/\S+)( |$)`)
)

// commands are the command lines of a page: in blocks of shell and in running text.
func commands(text string) []string {
	var out []string
	for _, m := range fence.FindAllStringSubmatch(text, -1) {
		for line := range strings.SplitSeq(strings.ReplaceAll(m[3], "\\\n", " "), "\n") {
			line = strings.TrimSpace(line)
			prompt, typed := strings.CutPrefix(line, "$ ")
			switch {
			case m[2] == "sh":
				out = append(out, line)
			case m[2] == "console" && typed:
				out = append(out, prompt)
			case m[2] == "" && command.MatchString(line): // a synopsis: what it does stands beside it
				before, _, _ := strings.Cut(line, "   ")
				out = append(out, before)
			}
		}
	}
	for _, m := range inline.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		if command.MatchString(m[1]) {
			out = append(out, m[1])
		}
	}
	for line := range strings.SplitSeq(text, "\n") {
		if typed, ok := strings.CutPrefix(line, "    "); ok && command.MatchString(typed) {
			out = append(out, typed)
		}
	}
	return out
}

// split splits a command line into commands and these into words, as a shell does.
// What the shell would put in (variables, the output of commands) is a word of its own.
func split(line string) [][]string {
	var out [][]string
	var words []string
	var word strings.Builder
	within := false
	endWord := func() {
		if within {
			words = append(words, word.String())
		}
		word.Reset()
		within = false
	}
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\'' || c == '"':
			end := strings.IndexByte(line[i+1:], c)
			if end < 0 {
				end = len(line) - i - 1
			}
			word.WriteString(line[i+1 : i+1+end])
			i, within = i+1+end, true
		case c == '$' && strings.HasPrefix(line[i:], "$("):
			end := strings.IndexByte(line[i:], ')')
			word.WriteString("PID")
			i, within = i+max(end, 1), true
		case c == '$':
			word.WriteString("PID")
			for within = true; i+1 < len(line) && (line[i+1] == '_' || line[i+1] >= 'A' && line[i+1] <= 'Z'); {
				i++
			}
		case c == '#' && !within:
			i = len(line)
		case strings.IndexByte("|;&>", c) >= 0:
			endWord()
			if len(words) > 0 {
				out = append(out, words)
			}
			words = nil
			if c == '>' { // the file it is written to
				words = []string{">"}
			}
		case c == ' ':
			endWord()
		default:
			word.WriteByte(c)
			within = true
		}
	}
	endWord()
	if len(words) > 0 {
		out = append(out, words)
	}
	return out
}

// checkCommand says what is wrong with a command, and whose it is.
func checkCommand(words []string) (program string, err error) {
	for len(words) > 0 && (words[0] == "sudo" || words[0] == "env" || strings.HasPrefix(words[0], "-E") || strings.Contains(words[0], "=")) {
		words = words[1:]
	}
	if len(words) == 0 {
		return "", nil
	}
	program, args := strings.TrimPrefix(words[0], "./"), words[1:]
	switch {
	case program == "phasetrace":
		return program, checkOurs(args)
	case program == "make":
		return program, checkMake(args)
	case program == "go" && len(args) > 0 && (args[0] == "test" || args[0] == "run"):
		return program, checkGo(args[0] == "test", args[1:])
	case strings.HasPrefix(program, "tools/") && !exists(filepath.Join(top, program)):
		return program, fmt.Errorf("there is no %s", program)
	}
	return program, nil
}

// checkOurs takes the arguments of phasetrace as it would, and starts nothing.
func checkOurs(args []string) error {
	if len(args) == 0 || slices.Contains(args, "…") && len(args) < 4 {
		return nil
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for i := range args { // what a reader puts in
		args[i] = strings.NewReplacer("[", "", "]", "").Replace(args[i])
		switch args[i] {
		case "PID":
			args[i] = "1"
		case "…":
			args[i] = "-p1"
		}
		if i > 0 && args[i-1] == "--exe" {
			args[i] = self
		}
	}
	root := newRoot(&streams{in: strings.NewReader(""), out: io.Discard, err: io.Discard})
	cmd, rest, err := root.Find(args)
	if err != nil {
		return err
	}
	if slices.Contains(rest, "--help") {
		return nil
	}
	if err := cmd.ParseFlags(rest); err != nil {
		return err
	}
	if err := cmd.ValidateArgs(cmd.Flags().Args()); err != nil {
		return err
	}
	return checkValues(cmd, rest)
}

// checkValues parses the values of a trace's flags.
func checkValues(cmd *cobra.Command, args []string) error {
	which := map[string]int{"phasetrace": traceFlags, "trace": traceFlags, "run": runFlags, "demo": runFlags}
	flags, traces := which[cmd.Name()]
	if !traces {
		return nil
	}
	o, again := newTraceOptions(), &cobra.Command{}
	again.Flags().SetInterspersed(cmd.Name() != "run")
	o.register(again, flags)
	if err := again.ParseFlags(args); err != nil {
		return err
	}
	if o.command = again.Flags().Args(); flags == runFlags && len(o.command) == 0 {
		o.command = []string{"true"}
	}
	_, err := o.parse()
	return err
}

var targets = regexp.MustCompile(`(?m)^([a-z][a-z-]*):`)

func checkMake(args []string) error {
	makefile, err := os.ReadFile(filepath.Join(top, "Makefile"))
	if err != nil {
		return err
	}
	for _, word := range args {
		if name, _, variable := strings.Cut(word, "="); variable {
			if !strings.Contains(string(makefile), "$("+name+")") {
				return fmt.Errorf("make has no variable %s", name)
			}
			continue
		}
		found := false
		for _, m := range targets.FindAllStringSubmatch(string(makefile), -1) {
			found = found || m[1] == word
		}
		if !found {
			return fmt.Errorf("make has no target %s", word)
		}
	}
	return nil
}

// flagsOfGo are those of go test that are used, with how many words they take.
var flagsOfGo = map[string]int{"exec": 1, "run": 1, "bench": 1, "v": 0, "C": 1, "count": 1, "benchtime": 1, "timeout": 1}

// checkGo looks for the packages, tests and flags of go test and go run.
func checkGo(test bool, args []string) error {
	var dirs, ours []string
	wanted := make(map[string]string) // of run and bench
	dir := top
	for i := 0; i < len(args); i++ {
		flag, isFlag := strings.CutPrefix(args[i], "-")
		n, known := flagsOfGo[flag]
		switch {
		case isFlag && known && (test || len(dirs) == 0):
			if n > 0 && i+1 < len(args) {
				wanted[flag] = args[i+1]
			}
			if flag == "C" {
				dir = filepath.Join(top, args[i+1])
			}
			i += n
		case isFlag:
			ours = append(ours, flag)
		case strings.HasPrefix(args[i], "./"):
			dirs = append(dirs, filepath.Join(dir, args[i]))
		}
	}
	var source strings.Builder
	for _, d := range dirs {
		text, err := goFiles(d, test)
		if err != nil || text == "" {
			return fmt.Errorf("there is no package %s: %w", d, err)
		}
		source.WriteString(text)
		for _, flag := range ours {
			if test && !regexp.MustCompile(`flag\.\w+\((&\w+, )?"`+flag+`"`).MatchString(text) {
				return fmt.Errorf("the tests of %s have no flag -%s", d, flag)
			}
		}
	}
	for _, flag := range ours {
		if !regexp.MustCompile(`\w+\((&[\w.]+, )?"` + regexp.QuoteMeta(flag) + `"`).MatchString(source.String()) {
			return fmt.Errorf("there is no flag -%s", flag)
		}
	}
	for flag, kinds := range map[string]string{"run": "Test|Fuzz", "bench": "Benchmark"} {
		if err := checkTests(source.String(), wanted[flag], kinds); err != nil {
			return fmt.Errorf("-%s: %w", flag, err)
		}
	}
	return nil
}

// checkTests looks for a test that a pattern chooses, but for those that mean none.
func checkTests(source, pattern, kinds string) error {
	pattern, _, _ = strings.Cut(pattern, "/")
	if pattern == "" || pattern == "NONE" || pattern == "xxx" {
		return nil
	}
	chosen, err := regexp.Compile(pattern)
	if err != nil {
		return err
	}
	for _, m := range regexp.MustCompile(`(?m)^func ((?:`+kinds+`)\w+)\(`).FindAllStringSubmatch(source, -1) {
		if chosen.MatchString(m[1]) {
			return nil
		}
	}
	return fmt.Errorf("nothing is called %s", pattern)
}

// goFiles is the source of a package, and with test that of its tests.
func goFiles(dir string, test bool) (string, error) {
	var b strings.Builder
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || !test && strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		text, err := fs.ReadFile(os.DirFS(dir), e.Name())
		if err != nil {
			return "", err
		}
		b.Write(text)
	}
	return b.String(), err
}
