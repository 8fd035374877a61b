// SPDX-License-Identifier: Apache-2.0

package figures

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/phasetrace/phasetrace/internal/statement"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// AttributePrefix stands before the name of an attribute in the word of a Grouping.
const AttributePrefix = "attr."

// sqlAttribute is the attribute that has a statement, and the word to group by it.
const sqlAttribute = "sql"

// By returns the Grouping of a word: rank, process, title, thread, sql or attr.KEY. A
// Grouping is for the figures of one session.
func By(word string) (*Grouping, error) {
	switch word {
	case "rank":
		return &Grouping{Word: word, Key: rankKey, OfProcess: true}, nil
	case "process":
		return &Grouping{Word: word, Key: processKey, Label: processLabel, OfProcess: true}, nil
	case "title":
		return &Grouping{Word: word, Key: titleKey, OfProcess: true}, nil
	case "thread":
		return &Grouping{Word: word, Key: threadKey, Label: threadLabel}, nil
	}
	if word == sqlAttribute {
		return &Grouping{Word: word, Key: statementKey(), Inherited: true}, nil
	}
	if key, ok := strings.CutPrefix(word, AttributePrefix); ok && key != "" {
		return &Grouping{Word: word, Key: attributeKey(key)}, nil
	}
	return nil, fmt.Errorf("%q: want rank, process, title, thread, sql or attr.KEY", word)
}

func rankKey(dst []byte, b *stream.Boundary) ([]byte, bool) {
	return strconv.AppendInt(dst, int64(b.Rank), 10), true
}

// processKey is the process's id: its name may change. Two processes with the same
// id, one after the other, are one group.
func processKey(dst []byte, b *stream.Boundary) ([]byte, bool) {
	if b.Thread == nil || b.Thread.Process == nil {
		return dst, false
	}
	return strconv.AppendInt(dst, int64(b.Thread.Process.PID), 10), true
}

// processLabel is the title that a process has when its first phase ends, or its name.
func processLabel(b *stream.Boundary) string {
	p := b.Thread.Process
	return labelled(cmp.Or(stream.WithoutActivity(p.Title), p.Comm), p.PID)
}

func threadKey(dst []byte, b *stream.Boundary) ([]byte, bool) {
	if b.Thread == nil || b.Thread.Process == nil {
		return dst, false
	}
	dst = strconv.AppendInt(dst, int64(b.Thread.Process.PID), 10)
	return strconv.AppendInt(append(dst, '/'), int64(b.Thread.TID), 10), true
}

// threadLabel names a thread as the stream of lines does; the first thread of a
// process has the process's id.
func threadLabel(b *stream.Boundary) string { return labelled(b.Thread.Name, b.Thread.TID) }

func labelled(name string, id int) string {
	if name == "" {
		return strconv.Itoa(id)
	}
	return name + "/" + strconv.Itoa(id)
}

// attributeKey takes the value of an attribute: of the enter, else of the exit.
func attributeKey(name string) func([]byte, *stream.Boundary) ([]byte, bool) {
	return func(dst []byte, b *stream.Boundary) ([]byte, bool) {
		out, ok := stream.AppendAttribute(dst, b.Attributes, name)
		if !ok && len(b.ExitAttributes) > 0 {
			return stream.AppendAttribute(dst, b.ExitAttributes, name)
		}
		return out, ok
	}
}

// statementKey takes the statement that a phase runs, without its literals.
func statementKey() func([]byte, *stream.Boundary) ([]byte, bool) {
	former := statement.NewFormer()
	var text []byte // scratch
	return func(dst []byte, b *stream.Boundary) ([]byte, bool) {
		sql, ok := stream.AppendAttribute(text[:0], b.Attributes, sqlAttribute)
		text = sql
		if !ok {
			return dst, false
		}
		return append(dst, former.Form(sql)...), true
	}
}
