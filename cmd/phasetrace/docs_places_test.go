// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Files and folders that the documentation names exist, and so do the headings that
// its links lead to.
func TestDocumentedPlaces(t *testing.T) {
	var (
		link = regexp.MustCompile(`\]\(([^)\s]+)\)`)
		code = regexp.MustCompile("`([^`\n]+)`")
		path = regexp.MustCompile(`^\.?[a-z][\w.-]*(?:/[\w.-]+)+/?$`)
	)
	checked := 0
	for page, text := range pages(t) {
		folder := filepath.Join(top, "docs")
		if page == "README.md" || page == "CONTRIBUTING.md" {
			folder = top
		}
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			checked++
			if err := checkLink(folder, page, m[1]); err != nil {
				t.Errorf("%s: (%s): %v", page, m[1], err)
			}
		}
		for _, m := range code.FindAllStringSubmatch(text, -1) {
			first, _, _ := strings.Cut(m[1], "/")
			if !path.MatchString(m[1]) || strings.HasSuffix(m[1], "/foo") || !exists(filepath.Join(top, first)) {
				continue
			}
			checked++
			if !exists(filepath.Join(top, m[1])) {
				t.Errorf("%s: there is no %s", page, m[1])
			}
		}
	}
	if checked < 100 {
		t.Errorf("only %d places found", checked)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

var heading = regexp.MustCompile(`(?m)^#+ +(.+)$`)

// checkLink looks for the file of a link, and for its heading as GitHub names it.
func checkLink(folder, page, target string) error {
	name, anchor, _ := strings.Cut(target, "#")
	if name == "" {
		name = page
	}
	text, err := os.ReadFile(filepath.Join(folder, name))
	switch {
	case err != nil && exists(filepath.Join(folder, name)) && anchor == "":
		return nil // a folder
	case err != nil:
		return err
	case anchor == "":
		return nil
	}
	for _, m := range heading.FindAllStringSubmatch(string(text), -1) {
		if slug(m[1]) == anchor {
			return nil
		}
	}
	return fmt.Errorf("%s has no such heading", name)
}

// slug is what GitHub makes of a heading.
func slug(text string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(text) {
		switch {
		case r == ' ':
			b.WriteByte('-')
		case r == '-' || r == '_' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r > 127:
			b.WriteRune(r)
		}
	}
	return b.String()
}
