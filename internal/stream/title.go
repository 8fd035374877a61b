// SPDX-License-Identifier: Apache-2.0

package stream

import "strings"

// WithoutActivity returns a title without what its process is doing. PostgreSQL writes
// that behind the client of a connection, "[local]" or HOST(PORT), and changes it with
// each statement: what was read a while ago is not what the process does now.
func WithoutActivity(title string) string {
	for end := 0; end < len(title); {
		from := end
		if n := strings.IndexByte(title[from:], ' '); n >= 0 {
			end = from + n
		} else {
			end = len(title)
		}
		word := title[from:end]
		if word == "[local]" || WithoutPort(word) != word {
			return title[:end]
		}
		end++
	}
	return title
}

// WithoutPort returns the host of HOST(PORT), and any other word as it is.
func WithoutPort(word string) string {
	host, ported := strings.CutSuffix(word, ")")
	at := strings.LastIndexByte(host, '(')
	if !ported || at < 1 || at == len(host)-1 {
		return word
	}
	for _, c := range []byte(host[at+1:]) {
		if c < '0' || c > '9' {
			return word
		}
	}
	return host[:at]
}
