// SPDX-License-Identifier: Apache-2.0

// Package figures adds up the records of a session by path: counts, times,
// quantiles and memory. Nothing else in the project adds durations up.
//
// It knows records. It must not know where they come from: live or replayed, the
// same records give the same figures.
package figures
