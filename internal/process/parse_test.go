// SPDX-License-Identifier: Apache-2.0

package process

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestParseStat(t *testing.T) {
	const tail = " S 7351 7351 4111 0 -1 4194304 100 17 0 0 0 0 0 0 20 0 3 0 73944 3133440 382\n"
	want := stat{PID: 12, State: 'S', Parent: 7351, Threads: 3, StartTime: 73944, ChildFaults: 17}
	for _, comm := range []string{"cat", "", "a b", "a) S 1 (b", ")", "((", "x\ny", "\xff\x1b[2J"} {
		want.Comm = comm
		got, err := parseStat([]byte("12 (" + comm + ")" + tail))
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v; want %+v", comm, got, err, want)
		}
	}
	kernel, err := parseStat([]byte("2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 5 0 0"))
	if err != nil || !kernel.Kernel {
		t.Errorf("kernel thread: %+v, %v", kernel, err)
	}
	for _, bad := range []string{
		"", "12", "12 (cat", "12 cat)", "(cat) S", "12 (cat) S 1 2", "x (cat)" + tail, "0 (cat)" + tail,
		strings.Replace("12 (cat)"+tail, "73944", "-1", 1), strings.Replace("12 (cat)"+tail, " S ", " SS ", 1),
		strings.Replace("12 (cat)"+tail, "4194304", "x", 1), "99999999999 (cat)" + tail,
	} {
		if got, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q: %+v, want an error", bad, got)
		}
	}
}

func TestParseStatus(t *testing.T) {
	got, err := parseStatus([]byte("Name:\tx\ny: z\nTgid:\t12\nUid:\t1\t4294967295\t3\t4\nNSpid:\t12\t5\t1\n"))
	want := status{Process: 12, UID: 4294967295, NSPIDs: []int{12, 5, 1}}
	if err != nil || !cmp.Equal(got, want) {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	for _, bad := range []string{"", "Name: x\n", "Tgid:\n", "Tgid: x\n", "Tgid: 1\nUid: 1\n", "Tgid: 1\nNSpid: 1 x 3\n"} {
		if got, err := parseStatus([]byte(bad)); err == nil {
			t.Errorf("%q: %+v, want an error", bad, got)
		}
	}
}

func TestParseMapLine(t *testing.T) {
	for _, c := range []struct {
		line string
		want mapLine
	}{
		{"55d3b6157000-55d3b615c000 r-xp 00002000 fe:00 247026                     /usr/bin/cat",
			mapLine{Mapping{0x55d3b6157000, 0x55d3b615c000, 0x2000, "r-xp"}, unix.Mkdev(0xfe, 0), 247026, "/usr/bin/cat"}},
		{"7f99601ce000-7f99601f0000 rw-p 00000000 00:00 0 ",
			mapLine{Mapping{0x7f99601ce000, 0x7f99601f0000, 0, "rw-p"}, 0, 0, ""}},
		{"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]",
			mapLine{Mapping{0xffffffffff600000, 0xffffffffff601000, 0, "--xp"}, 0, 0, "[vsyscall]"}},
		{`1000-2000 rwxs fffffffff000 fff:fffff 18446744073709551615 /a  b\012c (deleted)`,
			mapLine{Mapping{0x1000, 0x2000, 0xfffffffff000, "rwxs"}, unix.Mkdev(0xfff, 0xfffff), 1<<64 - 1, `/a  b\012c (deleted)`}},
		{"1000-2000 r-xp 00000000 00:01 33                 /memfd:jit (deleted)",
			mapLine{Mapping{0x1000, 0x2000, 0, "r-xp"}, unix.Mkdev(0, 1), 33, "/memfd:jit (deleted)"}},
		{"1000-2000 r-xp 0 0:1 5", mapLine{Mapping{0x1000, 0x2000, 0, "r-xp"}, unix.Mkdev(0, 1), 5, ""}},
	} {
		got, err := parseMapLine([]byte(c.line))
		if err != nil || got != c.want {
			t.Errorf("%q:\n got %+v, %v\nwant %+v", c.line, got, err, c.want)
		}
	}
	for _, bad := range []string{
		"", "1000-2000", "1000-2000 r-xp 0 0:1", "2000-1000 r-xp 0 0:1 5 x", "1000-1000 r-xp 0 0:1 5 x", "1000 r-xp 0 0:1 5 x",
		"1000-2000 r-x 0 0:1 5 x", "1000-2000 r-xp y 0:1 5 x", "1000-2000 r-xp 0 01 5 x", "1000-2000 r-xp 0 0:1 z x",
		"1000-11112222333344445 r-xp 0 0:1 5 x", "1000-2000 r-xp 0 100000000:1 5 x",
	} {
		if got, err := parseMapLine([]byte(bad)); err == nil {
			t.Errorf("%q: %+v, want an error", bad, got)
		}
	}
}

func TestParseMapsBounds(t *testing.T) {
	const line = "1000-2000 r-xp 0 0:1 5 /x\n"
	count := func(text string) (n int, err error) {
		err = parseMaps(strings.NewReader(text), func(mapLine) { n++ })
		return n, err
	}
	for _, c := range []struct {
		name, text string
		n          int
		cut        bool
	}{
		{"none", "", 0, false},
		{"two", line + line, 2, false},
		{"no line end", line + strings.TrimSpace(line), 2, false},
		{"malformed between", line + "what\n" + line, 2, true},
		{"too long a line", line + strings.Repeat("x", maxMapLine+1) + "\n" + line, 1, true},
		{"at the bound", strings.Repeat(line, MaxMappings), MaxMappings, false},
		{"over the bound", strings.Repeat(line, MaxMappings+1), MaxMappings, true},
		{"anonymous", strings.Repeat("1000-2000 r-xp 0 0:1 0 \n", 2*MaxMappings), 0, false},
	} {
		n, err := count(c.text)
		if n != c.n || errors.Is(err, ErrTruncated) != c.cut || (err != nil && !c.cut) {
			t.Errorf("%s: %d lines, %v; want %d, cut %v", c.name, n, err, c.n, c.cut)
		}
	}
	if _, err := count(strings.Repeat("1000-2000 r-xp 0 0:1 0 \n", MaxMapLines+1)); !errors.Is(err, ErrTruncated) {
		t.Errorf("too many lines: %v", err)
	}
}

func TestNames(t *testing.T) {
	for _, c := range []struct {
		text    string
		deleted bool
		want    []string
	}{
		{"/a", false, []string{"/a"}},
		{"/a (deleted)", true, []string{"/a", "/a (deleted)"}},
		{`/a\012b`, false, []string{"/a\nb", `/a\012b`}},
		{`/a\012b (deleted)`, true, []string{"/a\nb", `/a\012b`, "/a\nb (deleted)", `/a\012b (deleted)`}},
	} {
		got, deleted := names(c.text)
		if deleted != c.deleted || !cmp.Equal(got, c.want) {
			t.Errorf("%q: %q, %v", c.text, got, deleted)
		}
	}
}

func TestInsideRoot(t *testing.T) {
	for _, c := range [][3]string{
		{"/", "/a/b", "/a/b"}, {"/srv", "/srv/a", "/a"}, {"/srv", "/srvx/a", "/srvx/a"}, {"/srv", "/b", "/b"}, {"/srv", "/srv", "/srv"},
	} {
		if got := insideRoot(c[0], c[1]); got != c[2] {
			t.Errorf("insideRoot(%q, %q) = %q, want %q", c[0], c[1], got, c[2])
		}
	}
}

func TestParseEnviron(t *testing.T) {
	entry := func(name string, size int) string { return name + "=" + strings.Repeat("v", size) + "\x00" }
	for _, c := range []struct {
		name, text string
		want       map[string]string
		cut        bool
	}{
		{"none", "", map[string]string{}, false},
		{"first of two counts", "A=1\x00A=2\x00B=\x00", map[string]string{"A": "1", "B": ""}, false},
		{"no end", "A=1\x00B=2", map[string]string{"A": "1", "B": "2"}, false},
		{"no equals sign", "A\x00\x00=x\x00B=2=3\x00", map[string]string{"B": "2=3"}, false},
		{"others", "AB=1\x00C=2\x00", map[string]string{}, false},
		{"too long", entry("A", MaxEnvironValue) + "B=2\x00", map[string]string{"B": "2"}, true},
		{"too long at the end", "B=2\x00" + entry("A", MaxEnvironValue), map[string]string{"B": "2"}, true},
		{"too much", "B=2\x00" + strings.Repeat(entry("X", 1000), MaxEnviron/1000) + "A=1\x00", map[string]string{"B": "2"}, true},
	} {
		got, err := parseEnviron(strings.NewReader(c.text), []string{"A", "B"})
		if !cmp.Equal(got, c.want) || errors.Is(err, ErrTruncated) != c.cut || (err != nil && !c.cut) {
			t.Errorf("%s: %v, %v; want %v, cut %v", c.name, got, err, c.want, c.cut)
		}
	}
	all, err := parseEnviron(strings.NewReader("A=1\x00C=3\x00"), nil)
	if err != nil || !cmp.Equal(all, map[string]string{"A": "1", "C": "3"}) {
		t.Errorf("all: %v, %v", all, err)
	}
}

func TestRankOf(t *testing.T) {
	for _, c := range []struct {
		env    map[string]string
		rank   int
		source string // a part of it
		ok     bool
	}{
		{nil, 0, "", false},
		{map[string]string{"RANK": "3", "PMI_RANK": "4"}, 3, "RANK", true},
		{map[string]string{"SLURM_PROCID": "7", "PMI_RANK": "4"}, 4, "PMI_RANK", true},
		{map[string]string{"SLURM_PROCID": "7", "OMPI_COMM_WORLD_RANK": "0"}, 0, "OMPI_COMM_WORLD_RANK", true},
		{map[string]string{"SLURM_PROCID": "2147483647"}, 2147483647, "SLURM_PROCID", true},
		{map[string]string{"RANK": "x", "PMI_RANK": "4"}, 0, `RANK="x"`, false},
		{map[string]string{"RANK": "-1"}, 0, `RANK="-1"`, false},
		{map[string]string{"RANK": ""}, 0, `RANK=""`, false},
		{map[string]string{"RANK": " 1"}, 0, `RANK=" 1"`, false},
		{map[string]string{"RANK": "2147483648"}, 0, "RANK", false},
	} {
		rank, source, ok := RankOf(c.env)
		if rank != c.rank || ok != c.ok || !strings.Contains(source, c.source) || (c.source == "" && source != "") {
			t.Errorf("%v: %d, %q, %v", c.env, rank, source, ok)
		}
	}
}

func FuzzParseMaps(f *testing.F) {
	f.Add("55d3b6157000-55d3b615c000 r-xp 00002000 fe:00 247026                     /usr/bin/cat\n")
	f.Add("ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n1-2 r-xp 0 0:1 5 /a\\012b (deleted)\n")
	f.Add("1000-2000 r-xp 0 0:1 5")
	f.Fuzz(func(t *testing.T, text string) {
		err := parseMaps(strings.NewReader(text), func(m mapLine) {
			if m.End <= m.Start || len(m.Perms) != 4 || m.Inode == 0 || strings.HasPrefix(m.Name, " ") || strings.Contains(m.Name, "\n") {
				t.Errorf("accepted %+v", m)
			}
			paths, _ := names(m.Name)
			if len(paths) == 0 || len(paths) > 4 {
				t.Errorf("names of %q: %q", m.Name, paths)
			}
			again := fmt.Sprintf("%x-%x %s %x %x:%x %d %s", m.Start, m.End, m.Perms, m.Offset, unix.Major(m.Dev), unix.Minor(m.Dev), m.Inode, m.Name)
			if got, err := parseMapLine([]byte(again)); err != nil || got != m {
				t.Errorf("%+v written as %q reads as %+v, %v", m, again, got, err)
			}
		})
		if err != nil && !errors.Is(err, ErrTruncated) {
			t.Errorf("error of another kind: %v", err)
		}
	})
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("7355 (cat) R 7351 7351 4111 0 -1 4194304 100 0 0 0 0 0 0 0 20 0 1 0 73944 3133440 382\n"))
	f.Add([]byte("1 (a) S 1 (b) R 0 7351 4111 0 -1 4194304 100 0 0 0 0 0 0 0 20 0 1 0 73944 3133440 382"))
	f.Add([]byte("2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 5 0 0"))
	f.Fuzz(func(t *testing.T, line []byte) {
		s, err := parseStat(line)
		if err == nil && (s.PID <= 0 || s.Parent < 0 || s.Threads < 0) {
			t.Errorf("accepted %+v", s)
		}
	})
}

func FuzzParseStatus(f *testing.F) {
	f.Add([]byte("Name:\tcat\nTgid:\t12\nUid:\t0\t0\t0\t0\nNSpid:\t12\t1\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if s, err := parseStatus(data); err == nil && s.Process <= 0 {
			t.Errorf("accepted %+v", s)
		}
	})
}
