// SPDX-License-Identifier: Apache-2.0

package inspect

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/phasetrace/phasetrace/internal/probe"

	"github.com/phasetrace/phasetrace/internal/process"
	"github.com/phasetrace/phasetrace/internal/usdt"
)

// Listing is what was found in files or in a process. Its fields are the
// caller's; nothing here is safe for concurrent writes.
type Listing struct {
	// Process is nil when files were listed.
	Process *Process
	// Files are all that were looked at, in the order given or, for a
	// process, of their addresses.
	Files []File
	// Sites are those of all files together, in the order of Files.
	Sites []usdt.Site
	// Owner has, for each site, the index of its file.
	Owner []int
	// Choices are all pairs that the sites could form, chosen ones and others.
	Choices []usdt.Choice
	// Refused has, for each site, why a trace on this kernel leaves it alone
	// although a chosen pair has it, "" if it does not. nil before Judge.
	Refused []string
	// Used has, for each site, the nop that a trace on this kernel puts its probe
	// on. nil before Judge.
	Used []probe.Nop
	// Advice is what the table and the JSON form advise.
	Advice Advice
}

// Advice are phrases about the command line, filled in by the caller. Without
// one, its sentence is left out.
type Advice struct {
	// Ask says how to ask for a pair, given as usdt.PairSpec.String has it, and
	// AskNamed how to ask for those of a name.
	Ask, AskNamed func(string) string
	// Join says how to make a pair of probes that are in none.
	Join string
	// Rest says where to find the rest of a list that was cut.
	Rest string
}

// why is the reason for a choice, and what to do about it.
func (l *Listing) why(c *usdt.Choice) string {
	switch {
	case !c.OnDemand || l.Advice.Ask == nil:
		return c.Why
	case c.Pair.ByName() && l.Advice.AskNamed != nil:
		return c.Why + "; to trace it, " + l.Advice.AskNamed(c.Pair.Name)
	}
	return c.Why + "; to trace it, " + l.Advice.Ask(c.Pair.String())
}

// rest ends a list that leaves out n.
func (l *Listing) rest(n int) string {
	if l.Advice.Rest == "" {
		return fmt.Sprintf("%d more", n)
	}
	return fmt.Sprintf("%d more; %s", n, l.Advice.Rest)
}

// Process is the process that was looked at.
type Process struct {
	PID    int
	NSPIDs []int // its PID in each namespace from ours inwards
	Comm   string
	Exe    string // as the process names it
	// Truncated says that a bound was reached and files are missing.
	Truncated bool
}

// File is one file that was looked at.
type File struct {
	Path    string // as it was given or as the process names it
	Deleted bool   // of a process: no longer in the file system under that name
	Main    bool   // of a process: its executable
	// ELF is what the file says, nil when Err is not. Its Sites are those of
	// Listing.Sites.
	ELF *usdt.File
	Err error
}

// ErrNoProbes says that no file has a USDT probe.
var ErrNoProbes = errors.New("no USDT probes")

// Files lists files as if one program had them all mapped. A file that cannot
// be read is in the listing with its error. pairs are as in [usdt.Choose].
func Files(paths []string, pairs []usdt.PairSpec) *Listing {
	var l Listing
	for _, path := range paths {
		elf, err := readFile(func() (*os.File, error) { return process.OpenRegular(path) })
		l.add(File{Path: path, ELF: elf, Err: err})
	}
	l.Choices = usdt.Choose(l.Sites, pairs)
	return &l
}

// OfProcess lists the files that a running process has mapped with code. proc
// stays the caller's. The error is about the process as a whole.
func OfProcess(proc *process.Process, pairs []usdt.PairSpec) (*Listing, error) {
	modules, err := proc.Modules()
	truncated := errors.Is(err, process.ErrTruncated)
	if err != nil && !truncated {
		return nil, fmt.Errorf("process %d: %w", proc.PID, err)
	}
	l := Listing{Process: &Process{
		PID: proc.PID, NSPIDs: slices.Clone(proc.NSPIDs), Comm: proc.Comm, Exe: proc.Exe, Truncated: truncated,
	}}
	for i := range modules {
		m := &modules[i]
		f := File{Path: m.Path, Deleted: m.Deleted, Main: m.Main, Err: m.Err}
		if m.Err == nil {
			f.ELF, f.Err = readFile(m.Open)
		}
		l.add(f)
	}
	l.Choices = usdt.Choose(l.Sites, pairs)
	return &l, nil
}

func (l *Listing) add(f File) {
	if f.ELF != nil {
		for range f.ELF.Sites {
			l.Owner = append(l.Owner, len(l.Files))
		}
		if l.Sites == nil {
			l.Sites = slices.Clip(f.ELF.Sites) // the same memory, until there are more
		} else {
			l.Sites = append(l.Sites, f.ELF.Sites...)
		}
	}
	l.Files = append(l.Files, f)
}

// readFile reads the sites of the regular file that open opens.
func readFile(open func() (*os.File, error)) (*usdt.File, error) {
	f, err := open()
	if errors.Is(err, process.ErrNotRegular) {
		return nil, fmt.Errorf("%w: %w", usdt.ErrNotELF, process.ErrNotRegular)
	}
	if err != nil {
		return nil, unwrapPath(err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, unwrapPath(err)
	}
	return usdt.Read(io.NewSectionReader(f, 0, st.Size()), st.Size())
}

// unwrapPath drops the path, which is shown beside the error anyway.
func unwrapPath(err error) error {
	var pe *os.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// Failed returns the files that could not be read.
func (l *Listing) Failed() []File {
	var fs []File
	for _, f := range l.Files {
		if f.Err != nil {
			fs = append(fs, f)
		}
	}
	return fs
}

// Chosen returns how many pairs a trace would take.
func (l *Listing) Chosen() int {
	n := 0
	for i := range l.Choices {
		if l.Choices[i].Chosen {
			n++
		}
	}
	return n
}

// NoProbes returns nil when there is a probe, else an error that wraps
// [ErrNoProbes] and names the files looked at.
func (l *Listing) NoProbes() error {
	if len(l.Sites) > 0 {
		return nil
	}
	var read []string
	for _, f := range l.Files {
		if f.Err == nil {
			read = append(read, f.Path)
		}
	}
	if len(l.Files) == 0 {
		return fmt.Errorf("%w: the process has no file mapped", ErrNoProbes) // it is just being started
	}
	if len(read) == 0 {
		return fmt.Errorf("%w: no file could be read", ErrNoProbes)
	}
	const shown = 20
	more := ""
	if len(read) > shown {
		more = fmt.Sprintf(" and %d more", len(read)-shown)
		read = read[:shown]
	}
	return fmt.Errorf("%w in %s%s; a program gets them from phasetrace.h or sys/sdt.h, or from a package built with them",
		ErrNoProbes, strings.Join(read, ", "), more)
}

// Role says what a site does in a pair.
type Role string

// Roles of a site.
const (
	RoleEnter Role = "enter"
	RoleExit  Role = "exit"
	// RoleReset: when it fires, no instance of the pair can be open any more.
	RoleReset Role = "reset"
	// RoleNote: what it tells becomes an attribute of phases that begin later.
	RoleNote Role = "note"
)

// membership is one pair that a site belongs to.
type membership struct {
	choice int // index into Listing.Choices
	role   Role
}

// memberships returns, for each site, the pairs it belongs to in the order of
// the choices.
func (l *Listing) memberships() [][]membership {
	count := make([]int, len(l.Sites)+1)
	l.eachEnd(func(site int, _ membership) { count[site+1]++ })
	for i := range l.Sites {
		count[i+1] += count[i]
	}
	all := make([]membership, count[len(l.Sites)]) // one block: sites are many
	of := make([][]membership, len(l.Sites))
	for i := range of {
		of[i] = all[count[i]:count[i]:count[i+1]]
	}
	l.eachEnd(func(site int, m membership) { of[site] = append(of[site], m) })
	return of
}

// eachEnd visits the sites of every pair.
func (l *Listing) eachEnd(visit func(site int, m membership)) {
	for i := range l.Choices {
		c := &l.Choices[i]
		for _, s := range c.EnterSites {
			visit(s, membership{i, RoleEnter})
		}
		for _, s := range c.ExitSites {
			visit(s, membership{i, RoleExit})
		}
		for _, s := range c.ResetSites {
			visit(s, membership{i, RoleReset})
		}
		for _, s := range c.ContextSites {
			visit(s, membership{i, RoleNote})
		}
	}
}

// argUse returns how a pair shows an argument: its type and its key, both empty
// if the pair does not use it.
func argUse(p *usdt.PairSpec, role Role, arg int) (typ, key string) {
	switch {
	case arg == p.TokenArg:
		return "", "token"
	case isKey(p, role, arg):
		return "", "key"
	case role == RoleExit:
		return attrsUse(p.ExitAttrs, arg, false)
	case role == RoleNote:
		return attrsUse(p.Attrs, arg, true)
	case role != RoleEnter:
		return "", ""
	case arg == p.RankArg:
		return "", "rank"
	case arg == p.AttrsJSON:
		return "str", "attributes"
	}
	if n := p.NameArg; n != nil {
		if typ, key = attrUse(n, "name", arg); key != "" {
			return typ, key
		}
	}
	return attrsUse(p.Attrs, arg, false)
}

func isKey(p *usdt.PairSpec, role Role, arg int) bool {
	return slices.ContainsFunc(p.Key, func(k usdt.KeyArg) bool {
		return role == RoleEnter && k.Enter == arg || role == RoleExit && k.Exit == arg
	})
}

// attrsUse is attrUse of the first attribute that uses an argument: of the probe of
// the phase, or of another one (noted).
func attrsUse(attrs []usdt.AttrSpec, arg int, noted bool) (typ, key string) {
	for i := range attrs {
		if (attrs[i].Probe != "") != noted {
			continue
		}
		if typ, key = attrUse(&attrs[i], attrs[i].Key, arg); key != "" {
			return typ, key
		}
	}
	return "", ""
}

func attrUse(a *usdt.AttrSpec, name string, arg int) (typ, key string) {
	switch {
	case a.Arg == arg && a.Type == usdt.TypeStrLen:
		return fmt.Sprintf("str(arg%d)", a.LenArg), name
	case a.Arg == arg && a.Type != usdt.TypeInt:
		return a.Type.String(), name
	case a.Arg == arg:
		return "", name
	case a.Type == usdt.TypeStrLen && a.LenArg == arg:
		return "", name + " length"
	}
	return "", ""
}

// valueType names the value that an argument has by itself.
func valueType(a *probe.Operand) string {
	switch {
	case a.Err != nil:
		return "unsupported"
	case a.Signed:
		return "int" + strconv.Itoa(a.Size*8)
	}
	return "uint" + strconv.Itoa(a.Size*8)
}

// kindOf names what kind of ELF file it is.
func kindOf(f *usdt.File) string {
	switch {
	case f.Shared:
		return "shared library"
	case f.Static && f.PIE:
		return "static PIE program"
	case f.Static:
		return "static program"
	case f.PIE:
		return "PIE program"
	}
	return "program"
}
