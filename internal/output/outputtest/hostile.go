// SPDX-License-Identifier: Apache-2.0

package outputtest

import (
	"strings"
	"time"

	"github.com/phasetrace/phasetrace/internal/gpu"
	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// Evil is what a traced program may call anything: it clears the screen, sets the
// window's title, overrides the direction of text, ends lines, is not valid
// UTF-8, and is long.
var Evil = "\x1b[2J\x1b]0;owned\a\r\n\u009b31m\u202eevil\u2066\u2028\u2029\xff\xfe\"\\\x00\x7f" + strings.Repeat("o\u0301\u0301\u0301\u0301\u0301", 40) + "東京"

// Hostile is a session in which every string that a traced program, its files
// or its environment can influence is Evil.
func Hostile() *Session {
	s := newSession("s\n\x1b[1m2", Evil, &stream.Process{PID: 1, HostPID: 77, ContainerPID: 1, Comm: Evil, Exe: Evil, RankSource: Evil, Rank: -1})
	s.Start.Pairs = []stream.PairInfo{{Name: Evil, Provider: Evil, Enter: Evil, Exits: []string{Evil}, Lane: Evil, Origin: Evil}}
	s.Start.Devices = []gpu.Device{{UUID: Evil, Name: Evil, MIG: -1}}
	s.Start.GPUStatus = Evil
	t := s.thread(1, Evil)
	marker := &stream.Marker{Provider: Evil, Probe: Evil, Path: Evil, Offset: 1}

	outer, _ := s.enter(t, Evil, Evil, "{\n\"\u202e\x7f\":\"\u2028\"}")
	inner, b := s.enter(t, Evil, Evil+"inner", `{"a":{"b":["\u001b[2J","\"}"]},"c":"\ud800"}`)
	b.Marker = marker
	b.Cut = recorder.CutName | recorder.CutPath | recorder.CutAttributes
	v := s.violate(t, outer, stream.Repair(Evil))
	v.Marker = marker
	s.after(time.Hour)
	b = s.exit(t, inner)
	b.ExitAttributes = []byte("{\"\u202e\x7f\":\"\\u001b[2J\u2028\xff\"}")
	s.exit(t, outer)
	s.Records = append(s.Records, &stream.Orphan{Time: s.now, Unix: unix(s.now), Thread: t, Marker: marker, Reason: stream.OrphanReason(Evil)},
		&stream.Orphan{Time: s.now, Unix: unix(s.now), Reason: stream.OrphanUntraced},
		&stream.Loss{Time: s.now, Unix: unix(s.now), Count: 1},
		&stream.Violation{Time: s.now, Unix: unix(s.now), Err: v.Err},
		&stream.ProcessChange{Time: s.now, Unix: unix(s.now), Process: s.process},
		&stream.Sample{Unix: unix(s.now), Device: s.Start.Devices[0], Sample: gpu.Sample{Status: 250}})
	s.summarise()
	s.Summary.EndReason = Evil
	s.Summary.GPUStatus = Evil
	s.Summary.Notes = []stream.Note{{What: Evil}}
	s.Summary.ZeroSites = []stream.ZeroSite{{Marker: *marker, Remedy: Evil}}
	return s
}
