// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// probeEvents are the places of the list of probes that were made through tracefs,
// as perf probe and shell scripts make them.
var probeEvents = []string{"/sys/kernel/tracing/uprobe_events", "/sys/kernel/debug/tracing/uprobe_events"}

// maxProbeEvents bounds what is read of the list, in bytes.
const maxProbeEvents = 1 << 20

// rivalAt says whose probe is at a place of a file, as far as the kernel tells:
// those of BPF programs and of perf events have no names.
func rivalAt(path string, offset uint64) string {
	file, err := os.Stat(path)
	if err != nil {
		return "another tracer"
	}
	for _, list := range probeEvents {
		f, err := os.Open(list)
		if err != nil {
			continue
		}
		name := probeEventAt(io.LimitReader(f, maxProbeEvents), offset, func(other string) bool {
			o, err := os.Stat(other)
			return err == nil && os.SameFile(file, o)
		})
		f.Close()
		if name != "" {
			return fmt.Sprintf("another tracer (event %s of %s)", name, list)
		}
	}
	return "another tracer"
}

// probeEventAt returns the name of the probe event at a place of a file, "" if
// there is none. same tells whether a path is that of the file.
//
//	p:group/name /path/of/file:0x0000000000001139(0x4010) arg1=%di
func probeEventAt(events io.Reader, offset uint64, same func(path string) bool) string {
	lines := bufio.NewScanner(events)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) < 2 {
			continue
		}
		_, name, _ := strings.Cut(words[0], ":")
		at := strings.LastIndexByte(words[1], ':')
		if at < 0 {
			continue
		}
		place, _, _ := strings.Cut(words[1][at+1:], "(")
		if n, err := strconv.ParseUint(place, 0, 64); err == nil && n == offset && same(words[1][:at]) {
			return name
		}
	}
	return ""
}
