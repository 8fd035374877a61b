// SPDX-License-Identifier: Apache-2.0

package jsonl

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/phasetrace/phasetrace/internal/gpu"
	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// player turns lines into calls of a sink.
type player struct {
	scanner
	sink   stream.Sink
	lines  lines
	report Report

	started   bool
	sessionID string
	session   []byte // the session's id as JSON
	host      []byte // as JSON
	devices   map[int]gpu.Device

	// What records point to, each made once.
	paths     *recorder.Paths
	byNames   map[string]*recorder.Path // by its JSON
	processes map[int]*stream.Process   // by PID: as last read
	threads   map[threadKey]*stream.Thread
	markers   map[stream.Marker]*stream.Marker

	// Buffers for what a record holds.
	attributes []byte
	readings   []gpu.Reading
	processGPU []gpu.ProcessReading
	candidates []recorder.Active
	ref        pathRef // the innermost path
	outer      pathRef // that of an attribution, which contains others
	key        []byte  // scratch

	read
}

// read is what has been read of the current line.
type read struct {
	unix, time int64
	who        who
	exit       who // the thread that ended a keyed scope
	site       stream.Marker
	marker     *stream.Marker // nil for null
	phase      recorder.Attribution
	active     recorder.Active
	total      uint64 // of candidates
	boundary   stream.Boundary
	reading    gpu.Reading
	process    gpu.ProcessReading
	violation  stream.Violation
	broken     recorder.ProtocolError
	exitThread int // of a violation; 0: the thread of the line
	scope      recorder.ScopeRef
	since      int64 // when scope began
	orphan     stream.Orphan
	loss       stream.Loss
	dropped    stream.Dropped
	sample     stream.Sample
	latency    int64
	change     stream.ProcessChange
	pair       stream.PairChange
	told       stream.Process
	signal     int
	start      stream.Start
	summary    stream.Summary
	group      *stream.GroupStats  // of the last of its paths, while it is being read
	cost       *stream.ProcessCost // of summary, likewise
}

// playLimits are wider than any session's, which has applied its own.
var playLimits = recorder.Limits{MaxPaths: 1 << 21, MaxChildren: 1 << 21, MaxName: 1 << 12, MaxNameBytes: 256 << 20}

func newPlayer(r io.Reader, sink stream.Sink) *player {
	return &player{
		sink: sink, lines: lines{r: r}, paths: recorder.NewPaths(playLimits),
		devices: make(map[int]gpu.Device), byNames: make(map[string]*recorder.Path), processes: make(map[int]*stream.Process),
	}
}

// reset makes the player ready for another line.
func (p *player) reset() {
	p.read = read{}
	p.attributes, p.readings, p.processGPU = p.attributes[:0], p.readings[:0], p.processGPU[:0]
	p.candidates = p.candidates[:0]
	p.ref.reset()
}

// headFields are those of every line, in the order in which they are written.
func headFields(more ...field) []field {
	return append([]field{
		{"event_type", need, (*player).ignore},
		{"timestamp_ns", need, func(p *player) { p.unix = p.integer() }},
		{"monotonic_ns", need, func(p *player) { p.time = p.integer() }},
		{"session_id", need, (*player).readSession},
	}, more...)
}

var hostField = field{"host", need, (*player).readHost}

// ignore skips what the line says elsewhere, or what is not kept.
func (p *player) ignore() { p.skip() }

// readSession notes the session's id; all lines have the same.
func (p *player) readSession() {
	raw := p.raw()
	switch {
	case p.err != nil, p.started && bytes.Equal(raw, p.session):
	case p.started && p.unquote(raw) == p.sessionID:
	case p.started:
		p.failf("%.80s: want %.80s, as in session_start", raw, p.session)
	default:
		p.session = bytes.Clone(raw)
		p.sessionID = p.quoted(raw)
	}
}

// readHost is readSession for the host.
func (p *player) readHost() {
	raw := p.raw()
	switch {
	case p.err != nil, p.started && bytes.Equal(raw, p.host):
	case p.started && p.quoted(raw) == p.unquote(p.host):
	case p.started:
		p.failf("%.80s: want %.80s, as in session_start", raw, p.host)
	default:
		p.host = bytes.Clone(raw)
		p.quoted(raw)
	}
}

// pathRef is a path as in a line.
type pathRef struct {
	names    []byte // JSON; empty: null or missing
	bytes    []byte // JSON; empty: the names are the bytes
	overflow bool
}

func (r *pathRef) reset() { r.names, r.bytes, r.overflow = r.names[:0], r.bytes[:0], false }

// pathFields are the fields of a path, for a pathRef that has been reset.
func pathFields(of func(*player) *pathRef) []field {
	return []field{
		{"path", need, func(p *player) {
			if r := of(p); !p.null() {
				r.names = append(r.names, p.raw()...)
			}
		}},
		{"path_bytes", optional, func(p *player) { r := of(p); r.bytes = append(r.bytes, p.raw()...) }},
		{"overflow", optional, func(p *player) { of(p).overflow = p.bool() }},
	}
}

func innerPath(p *player) *pathRef { return &p.ref }
func outerPath(p *player) *pathRef { return &p.outer }

// path returns the path of a line, nil for null.
func (p *player) path(r *pathRef) *recorder.Path {
	if p.err != nil || len(r.names) == 0 {
		return nil
	}
	if !r.overflow && len(r.bytes) == 0 {
		if known := p.byNames[string(r.names)]; known != nil {
			return known
		}
	}
	p.key = append(p.key[:0], r.names...)
	if p.key = append(p.key, r.bytes...); r.overflow {
		p.key = append(p.key, '+')
	}
	if known := p.byNames[string(p.key)]; known != nil {
		return known
	}
	path, err := p.intern(r)
	if err != nil {
		p.fail(fmt.Errorf("path %.80s: %w", r.names, err))
		return nil
	}
	if len(p.byNames) >= playLimits.MaxPaths {
		clear(p.byNames)
	}
	p.byNames[string(p.key)] = path
	return path
}

func (p *player) intern(r *pathRef) (*recorder.Path, error) {
	names, err := stringList(r.names)
	if err != nil {
		return nil, err
	}
	if len(r.bytes) > 0 {
		if names, err = decodeNames(r.bytes, len(names)); err != nil {
			return nil, err
		}
	}
	if len(names) == 0 {
		return nil, errors.New("no names")
	}
	var path *recorder.Path
	for i, name := range names {
		if r.overflow && i == len(names)-1 {
			return p.paths.Other(path), nil
		}
		var cut recorder.Cut
		if path, cut, err = p.paths.Child(path, name); err != nil {
			return nil, err
		}
		if cut != 0 {
			return nil, errors.New("a name too long, or too many phases: not written by phasetrace")
		}
	}
	return path, nil
}

// decodeNames reads the names of path_bytes, of which there must be n.
func decodeNames(list []byte, n int) ([]string, error) {
	names, err := stringList(list)
	if err != nil {
		return nil, fmt.Errorf("path_bytes: %w", err)
	}
	if len(names) != n {
		return nil, fmt.Errorf("path_bytes: %d names, want %d", len(names), n)
	}
	for i, name := range names {
		raw, err := base64.StdEncoding.DecodeString(name)
		if err != nil {
			return nil, fmt.Errorf("path_bytes: %w", err)
		}
		names[i] = string(raw)
	}
	return names, nil
}

// stringList reads a JSON list of strings.
func stringList(list []byte) ([]string, error) {
	d := jsontext.NewDecoder(bytes.NewReader(list))
	if t, err := d.ReadToken(); err != nil || t.Kind() != '[' {
		return nil, errors.Join(errors.New("want a list of strings"), err)
	}
	var out []string
	for d.PeekKind() != ']' {
		t, err := d.ReadToken()
		if err != nil || t.Kind() != '"' {
			return nil, errors.Join(errors.New("want a list of strings"), err)
		}
		out = append(out, t.String())
	}
	return out, nil
}

// scopeID reads the id of a scope: "<session id>:<sequence>".
func (p *player) scopeID() (session string, scope uint64) {
	raw := p.raw()
	if p.err != nil {
		return "", 0
	}
	if n := len(p.session) - 1; len(raw) > n+2 && raw[n] == ':' && bytes.Equal(raw[:n], p.session[:n]) {
		if scope, ok := digits(raw[n+1 : len(raw)-1]); ok && (raw[n+1] != '0' || len(raw) == n+3) {
			return p.sessionID, scope
		}
	}
	session, scope, ok := splitScopeID(p.quoted(raw))
	if !ok {
		p.failf("%.80s: want an id such as %.80s:1", raw, p.sessionID)
	}
	return session, scope
}

// splitScopeID takes the id of a scope apart. It returns false if no recorder
// made it.
func splitScopeID(id string) (session string, scope uint64, ok bool) {
	i := len(id) - 1
	for i >= 0 && id[i] != ':' {
		i--
	}
	if i < 0 {
		return "", 0, false
	}
	n, ok := digits([]byte(id[i+1:]))
	return id[:i], n, ok && (id[i+1] != '0' || i+2 == len(id))
}

// quoted returns a value that must be a string.
func (p *player) quoted(raw []byte) string {
	if p.err == nil && (len(raw) == 0 || raw[0] != '"') {
		p.failf("%.40s: want a string", raw)
	}
	if p.err != nil {
		return ""
	}
	return p.unquote(raw)
}

// statuses are by name, as in JSON.
var statuses = func() map[string]gpu.Status {
	byName := make(map[string]gpu.Status)
	for i, name := range gpu.Statuses() {
		byName[`"`+name+`"`] = gpu.Status(i)
	}
	return byName
}()

func (p *player) status() gpu.Status {
	name := p.raw()
	s, ok := statuses[string(name)]
	if !ok {
		p.failf("%.40s is no status", name)
	}
	return s
}

// bytes reads a number of bytes, which may be unknown.
func (p *player) bytes() gpu.Value {
	if p.null() {
		return gpu.Value{}
	}
	return gpu.Bytes(p.unsigned())
}

func (p *player) delta() gpu.Delta {
	if p.null() {
		return gpu.Delta{}
	}
	return gpu.Delta{N: p.integer(), Known: true}
}
