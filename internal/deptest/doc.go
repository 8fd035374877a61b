// SPDX-License-Identifier: Apache-2.0

// Package deptest checks the imports of the project, indirect ones too, against
// docs/architecture.md, and the pages of the documentation against the code.
//
// It knows the names of packages and files. It must not know what they do.
package deptest
