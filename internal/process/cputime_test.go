// SPDX-License-Identifier: Apache-2.0

package process

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

// What ended threads have used counts, a zombie has its time still, and of who is
// gone nothing is known.
func TestCPUTime(t *testing.T) {
	before, err := CPUTime(os.Getpid())
	if err != nil || before <= 0 {
		t.Fatalf("%v, %v of this process", before, err)
	}
	cmd := exec.Command("sh", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo over; read line || true")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	alive, err := CPUTime(cmd.Process.Pid)
	if err != nil || alive < time.Millisecond {
		t.Errorf("%v, %v after a loop of 20,000 steps", alive, err)
	}
	p, err := Open(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	in.Close()
	if err := p.Wait(t.Context()); err != nil { // until it is a zombie
		t.Fatal(err)
	}
	if got, err := CPUTime(cmd.Process.Pid); err != nil || got < alive {
		t.Errorf("%v, %v of a zombie that had used %v", got, err, alive)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if got, err := CPUTime(cmd.Process.Pid); err == nil {
		t.Errorf("%v of a process that is gone", got)
	}
}
