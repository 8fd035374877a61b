// SPDX-License-Identifier: Apache-2.0

package pgtest

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"path/filepath"
)

// Wire is a connection that speaks the protocol itself, to send the messages that
// drivers send and psql does not: parse, bind, execute. What goes wrong with the
// connection fails the test; errors of the server do not.
type Wire struct {
	s    *Server
	conn net.Conn
	in   *bufio.Reader
	out  []byte // not sent yet
	// Backend is the process id of the server's side of the connection.
	Backend int
	// Errors counts the errors that the server has answered.
	Errors int
}

// Wire opens such a connection.
func (s *Server) Wire() *Wire {
	s.t.Helper()
	conn, err := net.Dial("unix", filepath.Join(s.dir, ".s.PGSQL.5432"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	w := &Wire{s: s, conn: conn, in: bufio.NewReader(conn)}
	const version = 3 << 16
	parameters := "user\x00postgres\x00database\x00postgres\x00\x00"
	w.out = binary.BigEndian.AppendUint32(w.out, uint32(8+len(parameters)))
	w.out = append(binary.BigEndian.AppendUint32(w.out, version), parameters...)
	w.answers()
	return w
}

// message adds a message to those that are sent at the next Sync.
func (w *Wire) message(kind byte, parts ...string) {
	n := 4
	for _, p := range parts {
		n += len(p)
	}
	w.out = binary.BigEndian.AppendUint32(append(w.out, kind), uint32(n))
	for _, p := range parts {
		w.out = append(w.out, p...)
	}
}

// Parse prepares a statement under a name.
func (w *Wire) Parse(name, sql string) { w.message('P', name, "\x00", sql, "\x00\x00\x00") }

// Bind makes a portal of a prepared statement with one argument, as text.
func (w *Wire) Bind(portal, statement, value string) {
	length := binary.BigEndian.AppendUint32(nil, uint32(len(value)))
	w.message('B', portal, "\x00", statement, "\x00", "\x00\x00", "\x00\x01", string(length), value, "\x00\x00")
}

// Execute runs a portal to its end.
func (w *Wire) Execute(portal string) { w.ExecuteRows(portal, 0) }

// ExecuteRows runs a portal until it has given that many rows.
func (w *Wire) ExecuteRows(portal string, rows uint32) {
	w.message('E', portal, "\x00", string(binary.BigEndian.AppendUint32(nil, rows)))
}

// Sync ends a batch of messages, sends it and waits until the server is ready again.
func (w *Wire) Sync() {
	w.message('S')
	w.answers()
}

// Simple runs statements by the simple protocol.
func (w *Wire) Simple(sql string) {
	w.message('Q', sql, "\x00")
	w.answers()
}

// Close ends the connection.
func (w *Wire) Close() {
	w.s.t.Helper()
	w.message('X')
	if _, err := w.conn.Write(w.out); err != nil {
		w.s.t.Fatal(err)
	}
	w.conn.Close()
}

// answers sends what is waiting and reads until the server is ready.
func (w *Wire) answers() {
	w.s.t.Helper()
	if _, err := w.conn.Write(w.out); err != nil {
		w.s.t.Fatal(err)
	}
	w.out = w.out[:0]
	for {
		var head [5]byte
		if _, err := io.ReadFull(w.in, head[:]); err != nil {
			w.s.t.Fatal(err)
		}
		body := make([]byte, binary.BigEndian.Uint32(head[1:])-4)
		if _, err := io.ReadFull(w.in, body); err != nil {
			w.s.t.Fatal(err)
		}
		switch head[0] {
		case 'E':
			w.Errors++
		case 'K':
			w.Backend = int(binary.BigEndian.Uint32(body))
		case 'Z':
			return
		}
	}
}
