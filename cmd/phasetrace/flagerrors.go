// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// flagError says what a flag wants, in place of what a parser of Go values says of it.
func flagError(_ *cobra.Command, err error) error {
	var bad *pflag.InvalidValueError
	if !errors.As(err, &bad) {
		return &statusError{statusUsage, err}
	}
	name, value := bad.GetFlag().Name, bad.GetValue()
	switch bad.GetFlag().Value.Type() {
	case "duration":
		if isNumber(value) {
			return usageError("--%s %s: give a unit, such as %ss or %sms", name, value, value, value)
		}
		return usageError("--%s %q: want a time with a unit, such as 10s, 1m30s or 500ms", name, value)
	case "int":
		if name == "pid" {
			return usageError("--pid %q: want the number of a process", value)
		}
		return usageError("--%s %q: want a number", name, value)
	case "bool":
		return usageError("--%s=%s: want no value, or true or false", name, value)
	}
	return usageError("--%s %q: %w", name, value, bad.Unwrap())
}

// isNumber reports whether a text is a number without a unit.
func isNumber(text string) bool {
	if text == "" || text[0] < '0' || text[0] > '9' {
		return false
	}
	for _, c := range text {
		if (c < '0' || c > '9') && c != '.' {
			return false
		}
	}
	return true
}
