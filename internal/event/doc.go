// SPDX-License-Identifier: Apache-2.0

// Package event is what the kernel tells of traced processes: one type for each
// kind of thing that happens, and a text form of one line for each event, which
// tests are written in.
//
// It must not know how events are delivered (BPF, a file, a test), nor what
// phases they make.
package event
