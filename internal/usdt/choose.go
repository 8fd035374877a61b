// SPDX-License-Identifier: Apache-2.0

package usdt

// Choice is a pair that could be traced, and whether it is.
type Choice struct {
	Pair   PairSpec
	Chosen bool
	// Why gives the reason, as a sentence fragment for a person.
	Why string
	// EnterSites, ExitSites and ResetSites are indices into the sites that
	// were chosen from.
	EnterSites, ExitSites, ResetSites []int
}
