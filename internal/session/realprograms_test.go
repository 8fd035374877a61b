// SPDX-License-Identifier: Apache-2.0

package session

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/phasetrace/phasetrace/internal/stream"

	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/testenv"
)

// realProgram starts an interpreter from its distribution with a script that
// says "ready", waits for "go" and says "done".
func realProgram(t *testing.T, extension, script string, command ...string) *fixture.Proc {
	t.Helper()
	file := filepath.Join(t.TempDir(), "Script."+extension)
	if err := os.WriteFile(file, []byte(script), 0o644); err != nil {
		t.Fatal(err)
	}
	p := fixture.StartCmd(t, exec.Command(command[0], append(command[1:], file)...))
	p.Expect("ready")
	return p
}

// attributesOf returns the attributes of the scopes of a path.
func attributesOf(t *testing.T, bs []stream.Boundary, path string) (all []map[string]any) {
	t.Helper()
	for i := range bs {
		b := &bs[i]
		if b.Action != recorder.Exit || b.Path.String() != path {
			continue
		}
		attrs := make(map[string]any)
		if len(b.Attributes) > 0 {
			if err := json.Unmarshal(b.Attributes, &attrs); err != nil {
				t.Fatalf("attributes %s: %v", b.Attributes, err)
			}
		}
		all = append(all, attrs)
	}
	return all
}

// logPaths shows what was traced.
func logPaths(t *testing.T, sum *stream.Summary) {
	t.Helper()
	for _, p := range sum.Paths {
		t.Logf("%-40s %6d times, %v in all, at most %v", p.Path, p.Count, p.Total, p.Max)
	}
}

const javaScript = `
import java.util.Scanner;
public class Script {
	static Object keep;
	public static void main(String[] args) {
		System.out.println("ready");
		new Scanner(System.in).nextLine();
		for (int i = 0; i < 500; i++) {
			byte[][] garbage = new byte[64][];
			for (int j = 0; j < 64; j++) garbage[j] = new byte[4096];
			keep = garbage;
		}
		for (int i = 0; i < 3; i++) System.gc();
		System.out.println("done");
	}
}
`

// OpenJDK's collections, with no --pair.
func TestOpenJDK(t *testing.T) {
	java, err := exec.LookPath("java")
	testenv.Require(t, err == nil, "OpenJDK is not installed: apt-get install openjdk-17-jdk-headless")
	p := realProgram(t, "java", javaScript, java, "-Xmx32m", "-XX:+UseSerialGC")
	tr := attach(t, []int{p.Pid()}, Config{})
	p.WriteLine("go")
	p.Expect("done")
	p.WaitOK()
	sum := tr.wait()
	logPaths(t, sum)
	full, collections := 0, 0
	for i := range tr.boundaries {
		b := &tr.boundaries[i]
		if b.Action == recorder.Exit && b.Path.Name() == "gc" {
			collections++
			for _, a := range attributesOf(t, tr.boundaries[i:i+1], b.Path.String()) {
				if a["full"] == 1.0 {
					full++
				}
			}
		}
	}
	if full != 3 || collections <= full {
		t.Errorf("%d collections, %d of them full; want 3 full ones and some others", collections, full)
	}
	if sum.ViolationTotal != 0 || sum.Lost != 0 {
		t.Errorf("%d violations, %d lost: %v", sum.ViolationTotal, sum.Lost, sum.Violations)
	}
}

const pythonScript = `
import gc, sys
gc.disable()
print("ready", flush=True)
sys.stdin.readline()
for i in range(7):
    gc.collect(i % 3)
import colorsys
print("done", flush=True)
`

// CPython's collections and imports, with no --pair.
func TestCPython(t *testing.T) {
	const python = "/usr/bin/python3.11"
	_, err := os.Stat(python)
	testenv.Require(t, err == nil, "Debian's CPython is not installed: apt-get install python3.11-minimal libpython3.11-stdlib")
	p := realProgram(t, "py", pythonScript, python)
	tr := attach(t, []int{p.Pid()}, Config{})
	p.WriteLine("go")
	p.Expect("done")
	p.WaitOK()
	sum := tr.wait()
	logPaths(t, sum)
	var generations []any
	for _, a := range attributesOf(t, tr.boundaries, "gc") {
		generations = append(generations, a["generation"])
	}
	want := []any{0.0, 1.0, 2.0, 0.0, 1.0, 2.0, 0.0}
	if len(generations) < len(want) { // the interpreter collects once more when it ends
		t.Fatalf("collections of generations %v, want at least %v", generations, want)
	}
	for i := range want {
		if generations[i] != want[i] {
			t.Fatalf("collections of generations %v, want %v first", generations, want)
		}
	}
	modules := attributesOf(t, tr.boundaries, "import")
	if len(modules) == 0 || modules[0]["module"] != "colorsys" {
		t.Errorf("imports %v, want colorsys", modules)
	}
	if sum.ViolationTotal != 0 || sum.Lost != 0 {
		t.Errorf("%d violations, %d lost: %v", sum.ViolationTotal, sum.Lost, sum.Violations)
	}
}

const rubyScript = `
STDOUT.sync = true
puts "ready"
STDIN.gets
3.times { GC.start(full_mark: true, immediate_sweep: true) }
require "ostruct"
puts "done"
`

const phpScript = `<?php
echo "ready\n";
fgets(STDIN);
eval('function f() { return 1; }');
include __FILE__ . ".inc";
echo "done\n";
`

// optional returns whether a program that CI need not have is there.
func optional(t *testing.T, path string) bool {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		t.Logf("%s is not installed: nothing to see", path)
		return false
	}
	return true
}

// Ruby's collections and requires, with no --pair.
func TestRuby(t *testing.T) {
	const ruby = "/usr/bin/ruby"
	if !optional(t, ruby) {
		return
	}
	p := realProgram(t, "rb", rubyScript, ruby)
	tr := attach(t, []int{p.Pid()}, Config{})
	p.WriteLine("go")
	p.Expect("done")
	p.WaitOK()
	sum := tr.wait()
	logPaths(t, sum)
	required := attributesOf(t, tr.boundaries, "require")
	if len(required) == 0 || required[0]["name"] != "ostruct" {
		t.Errorf("required %v, want ostruct first", required)
	}
	if n := properScopes(tr.boundaries, "gc mark"); n < 3 {
		t.Errorf("%d collections, want at least 3", n)
	}
	if sum.ViolationTotal != 0 {
		t.Errorf("%d violations: %+v", sum.ViolationTotal, sum.Violations)
	}
}

// PHP's probes are dead unless its environment brings them to life.
func TestPHP(t *testing.T) {
	const php = "/usr/bin/php"
	if !optional(t, php) {
		return
	}
	for _, alive := range []bool{true, false} {
		t.Run(map[bool]string{true: "alive", false: "dead"}[alive], func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "script.php")
			for name, text := range map[string]string{file: phpScript, file + ".inc": "<?php\n$x = 1;\n"} {
				if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.Command(php, file)
			if alive {
				cmd.Env = append(os.Environ(), "USE_ZEND_DTRACE=1")
			}
			p := fixture.StartCmd(t, cmd)
			p.Expect("ready")
			tr := attach(t, []int{p.Pid()}, Config{})
			p.WriteLine("go")
			p.Expect("done")
			p.WaitOK()
			sum := tr.wait()
			logPaths(t, sum)
			compiled := attributesOf(t, tr.boundaries, "compile")
			switch {
			case alive && (len(compiled) != 1 || compiled[0]["file"] != file+".inc"):
				t.Errorf("compiled %v, want %s.inc", compiled, file)
			case !alive && (len(compiled) != 0 || len(sum.ZeroSites) == 0 || sum.ZeroSites[0].Remedy == ""):
				t.Errorf("compiled %v, sites never hit %v; want none, and all of them with a remedy", compiled, sum.ZeroSites)
			}
		})
	}
}
