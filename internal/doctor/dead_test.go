// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"errors"
	"strings"
	"testing"

	"github.com/phasetrace/phasetrace/internal/inspect"
	"github.com/phasetrace/phasetrace/internal/usdt"
)

func TestFires(t *testing.T) {
	java := func(args ...string) subject { return subject{cmdline: append([]string{"/usr/bin/java"}, args...)} }
	env := func(s subject, name, value string) subject {
		s.env = map[string]string{name: value}
		return s
	}
	mapped := func(paths ...string) subject {
		s := subject{listing: &inspect.Listing{}}
		for _, p := range paths {
			s.listing.Files = append(s.listing.Files, inspect.File{Path: p})
		}
		return s
	}
	for _, c := range []struct {
		what  string
		s     subject
		probe string // provider:enter
		file  string
		want  Result
	}{
		{"library of 3.11", mapped(), "python:function__entry", "/usr/lib/libpython3.11.so.1.0", Missing},
		{"program of 3.12", mapped(), "python:function__entry", "/usr/bin/python3.12", Missing},
		{"program of 3.9", mapped(), "python:function__entry", "/opt/python3.11/bin/python3.9", OK},
		{"program of 3.14", mapped(), "python:function__entry", "/usr/bin/python3.14", Unknown},
		{"version in another file", mapped("/usr/lib/libc.so.6", "/usr/lib/python3.11/lib-dynload/_json.so"), "python:function__entry", "/usr/local/bin/uwsgi", Missing},
		{"no version", mapped(), "python:function__entry", "/usr/local/bin/uwsgi", Unknown},

		{"not set", subject{}, "php:request__startup", "", Missing},
		{"set", env(subject{}, phpVariable, "1"), "php:request__startup", "", OK},
		{"zero", env(subject{}, phpVariable, "0"), "php:request__startup", "", Missing},
		{"no number", env(subject{}, phpVariable, "yes"), "php:request__startup", "", Missing},
		{"unreadable", subject{envErr: errors.New("denied")}, "php:request__startup", "", Unknown},

		{"no flag", java("-Xmx1g", "Main", "-XX:+ExtendedDTraceProbes"), "hotspot:method__entry", "", Missing},
		{"flag", java("-cp", "x", "-XX:+ExtendedDTraceProbes", "Main"), "hotspot:method__entry", "", OK},
		{"flag taken back", java("-XX:+ExtendedDTraceProbes", "-XX:-ExtendedDTraceProbes", "Main"), "hotspot:method__entry", "", Missing},
		{"flag of methods", java("-XX:+DTraceMethodProbes", "-jar", "x.jar"), "hotspot:method__entry", "", OK},
		{"flag of methods for monitors", java("-XX:+DTraceMethodProbes", "-jar", "x.jar"), "hotspot:monitor__contended__enter", "", Missing},
		{"flag of the environment", env(java("Main"), "JAVA_TOOL_OPTIONS", "-Da=b -XX:+ExtendedDTraceProbes"), "hotspot:method__entry", "", OK},
		{"the last variable wins", env(java("-XX:+ExtendedDTraceProbes", "Main"), "_JAVA_OPTIONS", "-XX:-ExtendedDTraceProbes"), "hotspot:method__entry", "", Missing},
		{"argument file", java("@opts", "Main"), "hotspot:method__entry", "", Unknown},
		{"embedded", subject{cmdline: []string{"/usr/bin/soffice"}}, "hotspot:method__entry", "", Unknown},

		{"ruby", subject{}, "ruby:method__entry", "", Unknown},
	} {
		if c.s.listing == nil {
			c.s.listing = &inspect.Listing{}
		}
		provider, enter, _ := strings.Cut(c.probe, ":")
		got, why := c.s.fires(&usdt.PairSpec{Provider: provider, Enter: enter}, []string{c.file})
		if got != c.want || why == "" {
			t.Errorf("%s: %s, want %s (%s)", c.what, got, c.want, why)
		}
	}
}

// Every remedy of the catalogue belongs to a provider that is decided about.
func TestEveryRequirementIsDecided(t *testing.T) {
	undecided := map[string]bool{"ruby": true, "pytorch": true}
	for _, p := range usdt.Catalogue() {
		if p.Requires == "" || undecided[p.Provider] {
			continue
		}
		s := subject{listing: &inspect.Listing{}, cmdline: []string{"java"}}
		if r, why := s.fires(&p, []string{"python3.11"}); r != Missing {
			t.Errorf("%s:%s: %s: %s", p.Provider, p.Enter, r, why)
		}
	}
}

func TestStartsNumber(t *testing.T) {
	for s, want := range map[string]bool{
		"": false, "0": false, "1": true, "00": false, "010": true, "08": false, "0x0": false, "0x1": true, "0X0f": true,
		" 7": true, "-1": true, "yes": false, "1yes": true, "000": false,
	} {
		if got := startsNumber(s); got != want {
			t.Errorf("%q: %v", s, got)
		}
	}
}
