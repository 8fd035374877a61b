// SPDX-License-Identifier: Apache-2.0

// Package event is what the kernel reports about traced processes: one type for
// each kind of event, and a text form, one line an event, that tests read and
// write.
//
// It must not know how events are delivered (BPF, a file, a test), nor what phases
// they make.
package event
