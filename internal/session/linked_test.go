// SPDX-License-Identifier: Apache-2.0

package session

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/process"
	"github.com/phasetrace/phasetrace/internal/stream"
	"github.com/phasetrace/phasetrace/internal/testenv"
)

// linked builds a fixture with a linker.
func linked(t *testing.T, linker, source string, flags ...string) string {
	t.Helper()
	if os.Getenv(fixture.PrebuiltEnv) == "" { // on a test kernel it is built already
		_, err := exec.LookPath("ld." + linker)
		testenv.Require(t, err == nil, "no ld."+linker+": install "+linker)
	}
	return fixture.Build(t, source, append(flags, "-fuse-ld="+linker)...)
}

// talker is a running linked.c.
type talker struct {
	t   *testing.T
	pid int
	in  io.Writer
	out *bufio.Reader
}

// order gives an order and wants that answer.
func (p *talker) order(line, want string) {
	p.t.Helper()
	if _, err := io.WriteString(p.in, line+"\n"); err != nil {
		p.t.Fatalf("%s: %v", line, err)
	}
	p.expect(want)
}

// becomes gives an order until that is the answer, on an emulated machine; others
// have had the time.
func (p *talker) becomes(line, want string) {
	p.t.Helper()
	if os.Getenv(fixture.PrebuiltEnv) == "" {
		p.order(line, want)
		return
	}
	eventually(p.t, want, func() bool {
		if _, err := io.WriteString(p.in, line+"\n"); err != nil {
			p.t.Fatalf("%s: %v", line, err)
		}
		answer, err := p.out.ReadString('\n')
		if err != nil {
			p.t.Fatal(err)
		}
		return strings.TrimSuffix(answer, "\n") == want
	})
}

func (p *talker) expect(want string) {
	p.t.Helper()
	got, err := p.out.ReadString('\n')
	if got = strings.TrimSuffix(got, "\n"); got != want {
		p.t.Fatalf("the program said %q (%v), want %q", got, err, want)
	}
}

// start runs linked.c.
func startLinked(t *testing.T, path string, args ...string) *talker {
	t.Helper()
	cmd := exec.Command(path, args...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); _ = cmd.Wait() })
	p := &talker{t, cmd.Process.Pid, in, bufio.NewReader(out)}
	p.expect("ready")
	return p
}

// spawnLinked holds linked.c before its first instruction.
func spawnLinked(t *testing.T, path string, args ...string) (*process.Spawned, *talker) {
	t.Helper()
	childIn, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, childOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	spawned, err := process.Spawn(append([]string{path}, args...), os.Environ(), []*os.File{childIn, childOut, os.Stderr})
	childIn.Close()
	childOut.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); _, _ = spawned.Wait(); out.Close() })
	return spawned, &talker{t, spawned.PID, in, bufio.NewReader(out)}
}

// cleanliness holds a process against what it was before anybody traced it: its
// code is the file's, its markers are off, and the kernel has not complained of
// the file.
type cleanliness struct {
	t     *testing.T
	log   *os.File
	files []string
}

// watchKernel begins with the kernel's log from now on.
func watchKernel(t *testing.T, files ...string) *cleanliness {
	t.Helper()
	log, err := os.OpenFile("/dev/kmsg", os.O_RDONLY|unix.O_NONBLOCK, 0)
	testenv.Require(t, err == nil, "the kernel's log cannot be read")
	t.Cleanup(func() { log.Close() })
	if _, err := unix.Seek(int(log.Fd()), 0, io.SeekEnd); err != nil {
		t.Fatal(err)
	}
	return &cleanliness{t, log, files}
}

func (c *cleanliness) check(p *talker) {
	c.t.Helper()
	p.order("state", "enabled 0 0 0")
	for _, file := range c.files {
		for _, change := range c.changed(p.pid, file) {
			c.t.Errorf("%s: %s", file, change)
		}
	}
	c.checkLog()
}

// changed says where the code of a process is not that of its file.
func (c *cleanliness) changed(pid int, file string) (changes []string) {
	c.t.Helper()
	f, err := os.Open(file)
	if err != nil {
		c.t.Fatal(err)
	}
	defer f.Close()
	content, err := io.ReadAll(f)
	if err != nil {
		c.t.Fatal(err)
	}
	nops := longNopsIn(f)
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		c.t.Fatal(err)
	}
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		c.t.Fatal(err)
	}
	defer mem.Close()
	for line := range strings.Lines(string(maps)) {
		var from, to, offset int64
		var perms string
		if _, err := fmt.Sscanf(line, "%x-%x %s %x", &from, &to, &perms, &offset); err != nil || perms[2] != 'x' || !strings.HasSuffix(strings.TrimSpace(line), file) {
			continue
		}
		want := content[offset:min(offset+to-from, int64(len(content)))]
		got := make([]byte, len(want))
		if _, err := mem.ReadAt(got, from); err != nil {
			c.t.Fatal(err)
		}
		changes = append(changes, changed(uint64(offset), got, want, nops)...)
	}
	return changes
}

// checkLog looks for what the kernel says of breakpoints that it could not take
// out, and of no other process's file.
func (c *cleanliness) checkLog() {
	c.t.Helper()
	var inodes []string
	for _, file := range c.files {
		var st unix.Stat_t
		if err := unix.Stat(file, &st); err != nil {
			c.t.Fatal(err)
		}
		inodes = append(inodes, fmt.Sprintf("inode: %#x ", st.Ino))
	}
	line := make([]byte, 8192)
	for {
		n, err := unix.Read(int(c.log.Fd()), line)
		if errors.Is(err, unix.EAGAIN) {
			return
		}
		if err != nil && !errors.Is(err, unix.EPIPE) { // EPIPE: lines were overwritten
			c.t.Fatal(err)
		}
		for _, inode := range inodes {
			if n > 0 && bytes.Contains(line[:n], []byte(inode)) {
				c.t.Errorf("the kernel complains: %s", bytes.TrimSpace(line[:n]))
			}
		}
	}
}

// properly counts the phases of a session that were closed by themselves.
func properly(bs []stream.Boundary) map[string]int {
	all := make(map[string]int)
	proper, _ := tally(bs)
	for _, paths := range proper {
		for path, n := range paths {
			all[path] += n
		}
	}
	return all
}

// unhurried runs a session in which nothing must be missed, nor said to be. On a
// busy machine one can be late all the same; it says so, and is run again.
func unhurried(t *testing.T, session func(*testing.T) (*stream.Summary, map[string]int), want map[string]int) {
	t.Helper()
	testenv.BPF(t)
	waits := canWait(t)
	for range 8 {
		sum, got := session(t)
		if !waits {
			got = readable(got, want)
		}
		seen, late := cmp.Equal(want, got), tellsOfDelay(sum)
		if t.Failed() || seen && (!late || !waits) {
			return
		}
		if !seen && !late {
			t.Errorf("notes %v; phases differ (-want +got):\n%s", sum.Notes, cmp.Diff(want, got))
			return
		}
		if t.Logf("late, and told: %v", sum.Notes); !waits {
			return
		}
	}
	if os.Getenv(fixture.PrebuiltEnv) == "" { // an emulated machine may be too slow for all of them
		t.Error("never in time")
	}
}

// tellsOfDelay says whether a session tells that something may have been missed.
func tellsOfDelay(sum *stream.Summary) bool {
	slow := os.Getenv(fixture.PrebuiltEnv) != "" && noteOf(sum, slowLooksNote) > 0 // as an emulated machine is
	return slow || slices.ContainsFunc(sum.Notes, func(n stream.Note) bool {
		for _, start := range []string{"programs run by exec", "libraries loaded while", "files whose markers", "markers hit while probes"} {
			if strings.HasPrefix(n.What, start) {
				return true
			}
		}
		return false
	})
}

// canWait says whether programs can be made to wait.
func canWait(t *testing.T) bool {
	t.Helper()
	features, err := loader.DetectFeatures(testenv.Without(t))
	if err != nil {
		t.Fatal(err)
	}
	return features.Sleepable
}

// readable is got, or want where got has as many phases whose names are on pages
// that nobody could fault in.
func readable(got, want map[string]int) map[string]int {
	n := got[nameUnread]
	for path := range want {
		n += got[path] - want[path]
	}
	if n == 0 {
		return want
	}
	return got
}

// awaitState asks until the program's markers are in a state.
func awaitState(p *talker, want string) {
	p.t.Helper()
	for end := time.Now().Add(time.Minute); ; {
		if _, err := io.WriteString(p.in, "state\n"); err != nil {
			p.t.Fatal(err)
		}
		line, err := p.out.ReadString('\n')
		if err != nil || time.Now().After(end) {
			p.t.Fatalf("%q, %v: never %q", line, err, want)
		}
		if line == want+"\n" {
			return
		}
	}
}

// startTracer runs TestTracerProcess for a process.
func startTracer(t *testing.T, pid int) *exec.Cmd {
	t.Helper()
	tracer := exec.Command(os.Args[0], "-test.run", "^TestTracerProcess$", "-test.v")
	tracer.Env = append(os.Environ(), tracerEnv+"="+strconv.Itoa(pid))
	tracer.Stderr = os.Stderr
	out, err := tracer.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := tracer.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tracer.Process.Kill(); _ = tracer.Wait() })
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if lines.Text() == "attached" {
			return tracer
		}
	}
	t.Fatal("the tracer did not attach")
	return nil
}
