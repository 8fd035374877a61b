// SPDX-License-Identifier: Apache-2.0

package c_test

import (
	"os"
	"regexp"
	"testing"
)

var block = regexp.MustCompile("(?ms)^```(c|cpp)\n(.*?)^```$")

// Every C and C++ block of the page compiles as it stands, after the header.
// Functions of a block are static and unused: that warning alone is off.
func TestSnippetsOfTheDocumentation(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/markers.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := block.FindAllSubmatch(page, -1)
	if len(blocks) < 5 {
		t.Fatalf("%d blocks found, the page has more", len(blocks))
	}
	flags := []string{"-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Wno-unused-function", "-c"}
	for _, b := range blocks {
		language, text := string(b[1]), string(b[2])
		compilers, std := cCompilers(t), "-std=c99"
		if language == "cpp" {
			compilers, std = cppCompilers(t), "-std=c++11"
		}
		ext := map[string]string{"c": "c", "cpp": "cc"}[language]
		for _, c := range compilers {
			c.run(t, append([]string{std, snippet(t, ext, text)}, flags...)...)
		}
	}
}

func TestExamplesCompile(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"../../examples/demo/demo.c", "../../examples/hello/hello.c"} {
		for _, c := range cCompilers(t) {
			checkNotes(t, c.run(t, append([]string{"-O2", "-pthread", file}, warnings[:3]...)...))
		}
	}
}
