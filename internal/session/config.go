// SPDX-License-Identifier: Apache-2.0

package session

import (
	"time"

	"github.com/phasetrace/phasetrace/internal/engine"
	"github.com/phasetrace/phasetrace/internal/figures"
	"github.com/phasetrace/phasetrace/internal/gpu"
	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/process"
	"github.com/phasetrace/phasetrace/internal/stream"
	"github.com/phasetrace/phasetrace/internal/usdt"
)

// Config of a Session.
type Config struct {
	SessionID string
	Version   string          // of phasetrace, for stream.Start
	Pairs     []usdt.PairSpec // empty: the default choice
	// Follow traces children of targets too, from their first instruction.
	Follow bool
	// Executables are programs of which every process is traced, with its children,
	// whoever starts it: see AddRunning. They ask for Follow, and the session does not end
	// with its targets.
	Executables []string
	// NoArguments leaves out the arguments that pairs made by naming rules show.
	NoArguments bool
	// UnsafeNops attaches to five-byte nops although the kernel rewrites them
	// unsafely; see loader.Rewriting.
	UnsafeNops bool
	// Await keeps a running process as a target although nothing in it can be traced
	// yet, if it has a dynamic linker that tells of libraries that are loaded later.
	Await bool
	// Libraries are files to attach to although no process maps them yet.
	Libraries []string
	// Duration ends Run; 0: it goes on until the targets end or its context does.
	Duration   time.Duration
	Rank       int32  // of processes whose rank nobody says
	RankSource string // who gave Rank, if it goes before the environment; else ""
	Policy     engine.Policy
	RingBytes  int // 0: the loader's default
	Without    loader.Without
	// Sink takes the records. It is called from Run's goroutine, which reads what
	// the kernel tells: one that can block belongs behind a stream.Async.
	Sink stream.Sink
	// GPU is the sampler of device memory, nil for none. The session does not
	// close it.
	GPU       *gpu.Sampler
	GPUStatus string // why GPU is nil
	// Count counts phases in the kernel, by path, instead of recording their
	// boundaries: sinks get no Boundary and no Orphan.
	Count bool
	// MaxOverhead bounds what tracing costs any program, in relation to the CPU time that
	// it uses itself: pairs are left out when they cost more. 0: it is not bounded. Not
	// with Count.
	MaxOverhead float64
	// By groups figures; nil: they are added up by path alone. With Count it must be
	// OfProcess.
	By *figures.Grouping
	// Attached is called by Run once every probe is in place. An error ends the
	// session. It may be nil.
	Attached func(Attached) error
	// Advice says what the user can do about something that Message tells of, as a
	// clause such as "name the file with --library"; "" for nothing. It may be nil.
	Advice func(Topic) string
	// LeftOff is told of pairs that are traced only when they are asked for, when
	// a process has no others: once of each pair, from any goroutine. It may be nil.
	LeftOff func([]usdt.PairSpec)
	// Message tells the user something on the way, from any goroutine; it must
	// not be nil.
	Message func(string)
}

// Topic is what advice can be given about.
type Topic uint8

// The topics.
const (
	// TopicLibrary: a library may be loaded without being noticed in time.
	TopicLibrary Topic = iota + 1
	// TopicChildren: a process has children that are not traced.
	TopicChildren
)

// advice returns the advice on a topic, behind a semicolon, if there is any.
func (c *Config) advice(t Topic) string {
	if c.Advice == nil {
		return ""
	}
	if a := c.Advice(t); a != "" {
		return "; " + a
	}
	return ""
}

// Off are pairs that are traced only when they are asked for.
type Off struct {
	Pairs int      // beside those that are traced
	PID   int      // of a process that has some
	Files []string // that it has them in
}

// Target is a process to trace.
type Target struct {
	PID int
	// Spawned is set for a program that is held before its first instruction;
	// Run lets it go once every probe is in place. PID is then ignored.
	Spawned *process.Spawned
}

func (t Target) pid() int {
	if t.Spawned != nil {
		return t.Spawned.PID
	}
	return t.PID
}

// Attached is what there is to know once every probe is in place.
type Attached struct {
	Message string // a sentence that says what was attached
	Off     Off
	// NeedsAdmin: more probes, as for a library that is loaded later, can only be
	// made with CAP_SYS_ADMIN here.
	NeedsAdmin bool
}
