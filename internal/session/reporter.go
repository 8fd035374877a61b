// SPDX-License-Identifier: Apache-2.0

package session

import "fmt"

// reporter tells the user what was not done as promised. It is guarded as the
// watcher is.
type reporter struct {
	cfg       *Config
	warnings  warnings
	shortfall shortfall
}

// say tells the user something at once.
func (rp *reporter) say(format string, args ...any) { rp.cfg.Message(fmt.Sprintf(format, args...)) }

// warn takes warnings for the next flush, and returns how many of them are new.
func (rp *reporter) warn(texts ...string) int { return rp.warnings.add(texts...) }

// flush tells of the warnings that have not been told yet.
func (rp *reporter) flush() {
	for _, text := range rp.warnings.fresh() {
		rp.say("warning: %s", text)
	}
}

// advice returns the advice on a topic, behind a semicolon, if there is any.
func (rp *reporter) advice(t Topic) string { return rp.cfg.advice(t) }
