// SPDX-License-Identifier: Apache-2.0

package usdt

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/phasetrace/phasetrace/internal/probe"
)

// goldenProbes returns what testdata/probes lists: a line for each probe of a
// real program, with the sizes of its arguments, as sites with arguments in
// registers.
func goldenProbes(t *testing.T, file string) []Site {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var sites []Site
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		provider, name, _ := strings.Cut(fields[0], ":")
		s := Site{Provider: provider, Name: name}
		for _, size := range fields[1:] {
			args, err := ParseArgs(probe.AMD64, size+"@%rax", Symbols{})
			float := strings.HasSuffix(size, "f") // cannot be read
			if err != nil || (args[0].Err != nil) != float {
				t.Fatalf("%s: %s: size %s", file, fields[0], size)
			}
			s.Args = append(s.Args, args[0])
		}
		sites = append(sites, s)
	}
	return sites
}

// TestCatalogue: every pair's probes exist in a real program, and have the
// arguments that the pair uses, wide enough for strings where it says so.
func TestCatalogue(t *testing.T) {
	files, err := filepath.Glob("testdata/probes/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no lists of probes", err)
	}
	probes := map[probeKey][]Site{}
	for _, file := range files {
		for _, s := range goldenProbes(t, file) {
			k := probeKey{s.Provider, s.Name}
			probes[k] = append(probes[k], s)
		}
	}
	unpackaged := map[string]bool{"pytorch": true, "seastar": true} // from sources
	seen := map[probeKey]bool{}
	for _, p := range Catalogue() {
		if p.Why == "" || p.Origin != OriginCatalogue || (p.Name == "") != (p.NameArg != nil) {
			t.Errorf("%s: incomplete: %+v", p, p)
		}
		if k := (probeKey{p.Provider, p.Enter}); seen[k] != (p.Called != "") {
			t.Errorf("%s: a second pair for its enter probe needs a name to ask for it by, and only that", p)
		} else {
			seen[k] = true
		}
		if unpackaged[p.Provider] {
			continue
		}
		for _, name := range slices.Concat([]string{p.Enter}, p.Exits, p.Resets, p.NoteProbes()) {
			if _, function := functionName(name); !function && len(probes[probeKey{p.Provider, name}]) == 0 {
				t.Errorf("%s: no real program has %s:%s", p, p.Provider, name)
			}
		}
		attrs := p.Attrs
		if p.NameArg != nil {
			attrs = append(attrs, *p.NameArg)
		}
		check := func(a AttrSpec, probe string) {
			if a.Variable != "" {
				return // TestPostgreSQL looks for it
			}
			for _, s := range probes[probeKey{p.Provider, probe}] {
				if a.Arg >= len(s.Args) || a.Type == TypeStrLen && a.LenArg >= len(s.Args) {
					t.Errorf("%s: %s: the probe has %d arguments", p, a.Key, len(s.Args))
				} else if size := s.Args[a.Arg].Size; (a.Type == TypeStr || a.Type == TypeStrLen) && size != 8 {
					t.Errorf("%s: %s: a string's address of %d bytes", p, a.Key, size)
				}
			}
		}
		for _, a := range attrs {
			if a.Probe == "" {
				a.Probe = p.Enter
			}
			check(a, a.Probe)
		}
		for _, a := range p.ExitAttrs {
			for _, exit := range p.Exits {
				check(a, exit)
			}
		}
	}
	for _, prog := range programs {
		for _, e := range prog.pairs {
			p, err := ParsePair(e.spec)
			if err != nil {
				t.Error(err)
			} else if unlistedReason(p.Provider) == "" {
				t.Errorf("%s: provider %s is not listed", prog.name, p.Provider)
			}
		}
	}
}

func TestCatalogueIsCopied(t *testing.T) {
	a := Catalogue()
	a[0].Exits[0], a[0].Attrs[0].Key = "changed", "changed"
	if b := Catalogue()[0]; b.Exits[0] == "changed" || b.Attrs[0].Key == "changed" {
		t.Error("a caller's change reaches the catalogue")
	}
}

// TestCatalogueChoices: what is traced by default of each program.
func TestCatalogueChoices(t *testing.T) {
	for file, want := range map[string]string{
		"postgresql-15": "query execute transaction|checkpoint|checkpoint buffers|sync buffers|checkpoint clog|checkpoint subtrans|checkpoint multixact|checkpoint two-phase",
		"openjdk-17":    "gc safepoint (vmops__begin) vm init",
		"python-3.11":   "gc import",
		"ruby-3.1":      "gc mark|gc sweep|require load parse",
		"php-8.2":       "request compile",
		"libstdcxx":     "",
		"glibc-2.43":    "",
		"mir-2.12":      "",
		"postgresql-18": "query execute transaction|checkpoint|checkpoint buffers|sync buffers|checkpoint clog|checkpoint subtrans|checkpoint multixact|checkpoint two-phase",
		"openjdk-25":    "gc safepoint (vmops__begin) vm init",
		"python-3.14":   "gc import",
		"sssd-2.8": "request|account request|ldap search|search user|save user|deref search|nested group|transaction|" +
			"populate nested group|search users to populate|save nested group|check cache|process deref|split members|search cached users|search cached groups",
		"systemtap-4.8":   "pass 0|pass 1|pass 2|pass 3|pass 4|pass 5|pass 6|command|client|benchmark|benchmark thread",
		"libvirt-9.0":     "rpc|rpc call|qemu command",
		"libguestfs-1.48": "launch|build appliance|launch libvirt|build libvirt appliance",
	} {
		var got []string
		for _, c := range Choose(goldenProbes(t, "testdata/probes/"+file+".txt"), nil) {
			if c.Chosen && c.Pair.NameArg != nil {
				got = append(got, "("+c.Pair.Enter+")")
			} else if c.Chosen {
				got = append(got, c.Pair.Name)
			}
			if c.Why == "" || len(c.Warnings) > 0 {
				t.Errorf("%s: %s: why %q, warnings %q", file, c.Pair, c.Why, c.Warnings)
			}
		}
		plain := func(s string) string { return strings.ReplaceAll(s, "|", " ") }
		if g := strings.Join(got, " "); g != plain(want) {
			t.Errorf("%s: %s; want %s", file, g, plain(want))
		}
	}
}

// TestCatalogueIsDocumented: docs/pairs.md has every pair of the catalogue, as it is.
func TestCatalogueIsDocumented(t *testing.T) {
	const file, from, to = "../../docs/pairs.md", "<!-- catalogue -->\n", "<!-- end of catalogue -->"
	var b strings.Builder
	b.WriteString("| program | phase | enter / exit | default |\n| --- | --- | --- | --- |\n")
	for _, p := range Catalogue() {
		program, why, _ := strings.Cut(p.Why, ": ")
		name, is := p.Name, "on: "
		if p.NameArg != nil {
			name = "*named by an argument*"
		}
		if p.Called != "" {
			name += fmt.Sprintf(" (`--also %s`)", p.Called)
		}
		if !p.DefaultOn {
			is = "off: "
		}
		fmt.Fprintf(&b, "| %s | %s | `%s:%s` / `%s` | %s |\n", program, name, p.Provider, p.Enter, strings.Join(p.Exits, "`, `"), is+why)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok1 := strings.Cut(string(text), from)
	is, tail, ok2 := strings.Cut(rest, to)
	if !ok1 || !ok2 {
		t.Fatalf("%s: no place for the catalogue", file)
	}
	if *update {
		if err := os.WriteFile(file, []byte(head+from+b.String()+to+tail), 0o644); err != nil {
			t.Fatal(err)
		}
		is = b.String()
	}
	if diff := cmp.Diff(b.String(), is); diff != "" {
		t.Errorf("%s (-want +got), -update rewrites it:\n%s", file, diff)
	}
}
