// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/phasetrace/phasetrace/internal/usdt"
)

// pages are the README, CONTRIBUTING and the documentation.
func pages(t *testing.T) map[string]string {
	t.Helper()
	names, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]string)
	for _, name := range append(names, "../../README.md", "../../CONTRIBUTING.md") {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		out[filepath.Base(name)] = string(text)
	}
	return out
}

var (
	quotedPair = regexp.MustCompile(`--pair '([^'\n]+)'`)
	// ours is a command of phasetrace, up to where another program's begins.
	ours     = regexp.MustCompile(`(?m)(?:^|sudo |\./|\x60)phasetrace ((?:[^\n\x60]|\\\n)*)`)
	usedFlag = regexp.MustCompile(`(?:^| )--([a-z][a-z-]*)`)
)

// Every --pair of the documentation is one, and together they show every option.
func TestDocumentedPairs(t *testing.T) {
	shown := make(map[string]bool)
	for page, text := range pages(t) {
		for _, m := range quotedPair.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "…") {
				continue
			}
			p, err := usdt.ParsePair(m[1])
			if err != nil {
				t.Errorf("%s: --pair '%s': %v", page, m[1], err)
				continue
			}
			for option, is := range map[string]bool{
				"+": p.Added, "several exits": len(p.Exits) > 1, "name=TEXT": strings.Contains(m[1], ";name=") && p.NameArg == nil,
				"name=argN": p.NameArg != nil, "attr": len(p.Attrs) > 0, "exit.attr": len(p.ExitAttrs) > 0, "key": p.Keyed(),
				"lane": p.Lane != "", "reentrant": !p.Reentrant, "reset": len(p.Resets) > 0,
				"str(argM)": strings.Contains(m[1], ":str(arg"), "hex": strings.Contains(m[1], ":hex"),
			} {
				shown[option] = shown[option] || is
			}
		}
	}
	if len(shown) != 12 {
		t.Errorf("options %v, want 12", shown)
	}
	for option, is := range shown {
		if !is {
			t.Errorf("no page has an example of %s", option)
		}
	}
}

// The commands of the documentation have no flag that the program does not.
func TestDocumentedFlags(t *testing.T) {
	known := map[string]bool{"help": true}
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		c.Flags().VisitAll(func(f *pflag.Flag) { known[f.Name] = true })
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(newRoot(&streams{in: strings.NewReader(""), out: io.Discard, err: io.Discard}))
	checked := 0
	for page, text := range pages(t) {
		for _, m := range ours.FindAllStringSubmatch(text, -1) {
			command, _, _ := strings.Cut(m[1], " -- ")
			for _, flag := range usedFlag.FindAllStringSubmatch(command, -1) {
				if checked++; !known[flag[1]] {
					t.Errorf("%s: %s: there is no --%s", page, m[0], flag[1])
				}
			}
		}
	}
	if checked < 20 {
		t.Errorf("only %d flags found", checked)
	}
}

// Every flag is in the documentation, not in the program's help alone.
func TestFlagsAreDocumented(t *testing.T) {
	var text strings.Builder
	for _, page := range pages(t) {
		text.WriteString(page)
	}
	checked := 0
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		c.Flags().VisitAll(func(f *pflag.Flag) {
			forms := `--` + f.Name + `\b`
			if f.Shorthand != "" {
				forms += `|[ \x60]-` + f.Shorthand + `\b`
			}
			if checked++; !f.Hidden && !regexp.MustCompile(forms).MatchString(text.String()) {
				t.Errorf("no page has --%s (%s)", f.Name, c.CommandPath())
			}
		})
		for _, sub := range c.Commands() {
			if sub.Name() != "completion" { // cobra's own, which its help explains
				walk(sub)
			}
		}
	}
	walk(newRoot(&streams{in: strings.NewReader(""), out: io.Discard, err: io.Discard}))
	if checked < 50 {
		t.Errorf("only %d flags found", checked)
	}
}
