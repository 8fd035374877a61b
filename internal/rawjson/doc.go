// SPDX-License-Identifier: Apache-2.0

// Package rawjson walks through the members of a JSON object as text, without
// decoding them. It is pure, does not allocate, and takes objects whose end is
// missing. It must not know what the members mean.
package rawjson
