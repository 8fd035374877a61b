// SPDX-License-Identifier: Apache-2.0

// Structure measures the packages of the project: how much their files refer to
// each other, and how many of these references run back up, the largest types by
// methods, long files and long functions.
//
// A file refers to another when it names something that is declared at the top
// level of that file, or a method or field of such a type. The files of a package
// are put into the order that leaves the fewest references running from a lower
// file to a higher one, as far as a simple search finds it; these run back up.
//
//	go run -C tools ./structure [PACKAGE…]
package main

import (
	"fmt"
	"go/ast"
	"go/types"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"golang.org/x/tools/go/packages"
)

const (
	maxFile     = 400 // lines; longer files are listed
	maxFunction = 40  // lines; longer functions are listed
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "structure:", err)
		os.Exit(1)
	}
}

func run(patterns []string) error {
	if len(patterns) == 0 {
		patterns = []string{"./..."}
	}
	pkgs, err := packages.Load(&packages.Config{
		Dir:  "..", // the module is this one's parent
		Mode: packages.NeedName | packages.NeedFiles | packages.NeedSyntax | packages.NeedTypes | packages.NeedTypesInfo | packages.NeedImports | packages.NeedDeps,
	}, patterns...)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "package\tfiles\treferences\tback up\tlargest type\tmethods")
	var long []string
	for _, p := range pkgs {
		for _, e := range p.Errors {
			return fmt.Errorf("%s: %w", p.PkgPath, e)
		}
		m := measure(p)
		long = append(long, m.long...)
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%s\t%d\n", short(p.PkgPath), len(p.Syntax), m.references, m.back, m.largest, m.methods)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Printf("\nfiles over %d lines, functions over %d:\n", maxFile, maxFunction)
	for _, l := range long {
		fmt.Println(" ", l)
	}
	return nil
}

func short(path string) string {
	return strings.TrimPrefix(path, "github.com/phasetrace/phasetrace/")
}

type measures struct {
	references, back int
	largest          string
	methods          int
	long             []string
}

func measure(p *packages.Package) (m measures) {
	graph := references(p)
	for _, to := range graph {
		m.references += len(to)
	}
	m.back = backwards(graph)
	m.largest, m.methods = largestType(p)
	for _, f := range p.Syntax {
		m.long = append(m.long, longParts(p, f)...)
	}
	return m
}

// references returns which file of a package refers to which.
func references(p *packages.Package) map[string]map[string]bool {
	graph := make(map[string]map[string]bool)
	for _, f := range p.Syntax {
		from := p.Fset.File(f.Pos()).Name()
		graph[from] = make(map[string]bool)
		ast.Inspect(f, func(n ast.Node) bool {
			id, ok := n.(*ast.Ident)
			if !ok {
				return true
			}
			obj := p.TypesInfo.Uses[id]
			if obj == nil || obj.Pkg() != p.Types || !topLevel(obj, p.Types) {
				return true
			}
			if to := p.Fset.File(obj.Pos()).Name(); to != from {
				graph[from][to] = true
			}
			return true
		})
	}
	return graph
}

// topLevel reports whether an object is one of the package's, or a method or field
// of its types.
func topLevel(obj types.Object, pkg *types.Package) bool {
	if obj.Parent() == pkg.Scope() {
		return true
	}
	switch o := obj.(type) {
	case *types.Func:
		return o.Signature().Recv() != nil
	case *types.Var:
		return o.IsField()
	}
	return false
}

// backwards returns how many references run back up in the best order found: it
// begins with the files that are referred to least and moves single files while
// that helps.
func backwards(graph map[string]map[string]bool) int {
	var order []string
	for f := range graph {
		order = append(order, f)
	}
	slices.Sort(order)
	in := func(f string) (n int) {
		for _, to := range graph {
			if to[f] {
				n++
			}
		}
		return n
	}
	slices.SortStableFunc(order, func(a, b string) int { return in(a) - len(graph[a]) - in(b) + len(graph[b]) })
	best := count(graph, order)
	for better := true; better; {
		better = false
		for i := range order {
			for j := range order {
				moved := slices.Insert(slices.Delete(slices.Clone(order), i, i+1), j, order[i])
				if n := count(graph, moved); n < best {
					best, order, better = n, moved, true
				}
			}
		}
	}
	return best
}

// count returns how many references run from a later file to an earlier one.
func count(graph map[string]map[string]bool, order []string) (n int) {
	place := make(map[string]int)
	for i, f := range order {
		place[f] = i
	}
	for from, all := range graph {
		for to := range all {
			if place[to] < place[from] {
				n++
			}
		}
	}
	return n
}

func largestType(p *packages.Package) (name string, methods int) {
	for _, n := range p.Types.Scope().Names() {
		named, ok := p.Types.Scope().Lookup(n).Type().(*types.Named)
		if ok && named.Obj().Pkg() == p.Types && named.NumMethods() > methods {
			name, methods = n, named.NumMethods()
		}
	}
	return name, methods
}

func longParts(p *packages.Package, f *ast.File) (out []string) {
	file := p.Fset.File(f.Pos())
	name := short(p.PkgPath) + "/" + filepath.Base(file.Name())
	if n := file.LineCount(); n > maxFile && !ast.IsGenerated(f) {
		out = append(out, fmt.Sprintf("%s: %d lines", name, n))
	}
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || ast.IsGenerated(f) {
			continue
		}
		if n := file.Line(fn.End()) - file.Line(fn.Pos()) + 1; n > maxFunction {
			out = append(out, fmt.Sprintf("%s: %s, %d lines", name, fn.Name.Name, n))
		}
	}
	return out
}
