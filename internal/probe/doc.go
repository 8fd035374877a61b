// SPDX-License-Identifier: Apache-2.0

// Package probe says what to attach to and what to fetch there.
//
// It is the vocabulary between what finds sites (package usdt) and what attaches to
// them (package loader). It is pure, and must not know ELF or BPF.
package probe
