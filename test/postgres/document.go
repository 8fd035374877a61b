// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
)

// commandsOf returns the commands of the first console block under a heading of a
// page, without their prompts. A command goes on in the next line while a quote is
// open.
func commandsOf(page, heading string) ([]string, error) {
	_, section, found := strings.Cut(page, "\n## "+heading+"\n")
	if !found {
		return nil, fmt.Errorf("the page has no section %q", heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	_, block, found := strings.Cut(section, "```console\n")
	if !found {
		return nil, fmt.Errorf("the section %q has no command", heading)
	}
	block, _, _ = strings.Cut(block, "```")
	var out []string
	open := false
	for line := range strings.Lines(block) {
		switch command, is := strings.CutPrefix(line, "$ "); {
		case open:
			out[len(out)-1] += line
		case is:
			out, line = append(out, command), command
		default:
			continue
		}
		if strings.Count(line, "'")%2 == 1 {
			open = !open
		}
	}
	for i := range out {
		out[i] = strings.TrimSpace(out[i])
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("the section %q has no command", heading)
	}
	return out, nil
}
