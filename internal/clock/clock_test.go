// SPDX-License-Identifier: Apache-2.0

package clock

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestParseOffsets(t *testing.T) {
	for text, want := range map[string]Offsets{
		"":                                     {},
		"monotonic           0         0\n":    {},
		"monotonic 86400 0\nboottime -5 250\n": {86400e9, -5e9 + 250},
		"monotonic x 0\nboottime 1\ntai 1 2\n": {},
	} {
		if got := parseOffsets(text); got != want {
			t.Errorf("%q: %+v, want %+v", text, got, want)
		}
	}
}

const printClocks = "PRINT_CLOCKS"

func TestMain(m *testing.M) {
	if os.Getenv(printClocks) != "" {
		os.Stdout.WriteString(strconv.FormatInt(Monotonic(), 10) + " " + strconv.FormatInt(Boot(), 10) + " " + strconv.FormatInt(Shift().Monotonic, 10))
		return
	}
	os.Exit(m.Run())
}

// A process in a time namespace reads the clocks of the initial one.
func TestTimeNamespace(t *testing.T) {
	unshare, err := exec.LookPath("unshare")
	if err != nil || os.Geteuid() != 0 {
		t.Skip("needs root and unshare, to make a time namespace")
	}
	cmd := exec.Command(unshare, "--time", "--fork", "--monotonic", "864000", "--boottime", "1728000", os.Args[0])
	cmd.Env = append(os.Environ(), printClocks+"=1")
	before, beforeBoot := Monotonic(), Boot()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var got [3]int64
	for i, word := range strings.Fields(string(out)) {
		if got[i], err = strconv.ParseInt(word, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	if got[2] != int64(864000*time.Second) {
		t.Errorf("the namespace adds %d ns to the monotonic clock, want ten days", got[2])
	}
	if got[0] < before || got[0] > Monotonic() || got[1] < beforeBoot || got[1] > Boot() {
		t.Errorf("clocks %d and %d in the namespace; outside from %d to %d and from %d to %d", got[0], got[1], before, Monotonic(), beforeBoot, Boot())
	}
}
