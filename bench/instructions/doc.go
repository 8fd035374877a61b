// SPDX-License-Identifier: Apache-2.0

// Package instructions holds what boundaries took on a machine whose clock counts
// instructions, as text, and compares two such measurements. It must not know how
// they are made.
package instructions
