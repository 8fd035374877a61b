// SPDX-License-Identifier: Apache-2.0

// Package filter says which boundaries are written: it parses conditions such as
// process~autovacuum && duration>10ms and holds boundaries against them.
//
// It knows records. It must not know how they are written, nor how they are added
// up: figures are of all boundaries, whatever a filter leaves out.
package filter
