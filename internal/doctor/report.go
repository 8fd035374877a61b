// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/phasetrace/phasetrace/internal/inspect"
)

// Result is the outcome of a check.
type Result string

// Results. Unknown means that a check could not be made, which is never the same
// as fine.
const (
	OK      Result = "ok"
	Warn    Result = "warn"
	Missing Result = "missing"
	Unknown Result = "unknown"
)

// Groups of checks, in the order in which they are shown.
const (
	GroupKernel     = "kernel"
	GroupPrivileges = "privileges"
	GroupSystem     = "system"
	GroupGPU        = "gpu"
	GroupProcess    = "process"
)

// Check is one thing that was looked at.
type Check struct {
	Group  string `json:"group"`
	Name   string `json:"name"` // stable within a version of the schema
	Result Result `json:"result"`
	// Required says that nothing can be traced unless this is ok.
	Required bool `json:"required"`
	// Purpose says what it is for.
	Purpose string `json:"purpose"`
	// Detail is what was found.
	Detail string `json:"detail,omitempty"`
	// Remedy is what to do, empty when there is nothing to do.
	Remedy string `json:"remedy,omitempty"`
	// Advice is what to do with phasetrace's own command line, which this package
	// does not know: the caller adds it to Remedy. "" for nothing.
	Advice Advice `json:"advice,omitempty"`
	// Count is the number of sites that a check of sites is about.
	Count int `json:"count,omitempty"`
}

// Advice is something to do with phasetrace's command line.
type Advice string

// The advices.
const (
	AdviseListing     Advice = "listing"      // list the process: it shows every file and every marker
	AdviseLibrary     Advice = "library"      // name a library that is loaded later
	AdvisePair        Advice = "pair"         // choose pairs, of those that the listing shows
	AdviseNVMLLibrary Advice = "nvml_library" // name the file of the NVML library
)

// Advices are all of them.
func Advices() []Advice {
	return []Advice{AdviseListing, AdviseLibrary, AdvisePair, AdviseNVMLLibrary}
}

// Advise adds to each check's remedy how to follow its advice.
func (r *Report) Advise(how func(Advice) string) {
	for i := range r.Checks {
		c := &r.Checks[i]
		switch text := how(c.Advice); {
		case c.Advice == "" || text == "":
		case c.Remedy == "":
			c.Remedy = text
		default:
			c.Remedy += "; " + text
		}
	}
}

// SchemaVersion is the version of the JSON form of [Report]. Fields and checks
// may be added within a version; none is renamed or given another meaning.
const SchemaVersion = 1

// Report is everything that was found.
type Report struct {
	SchemaVersion int     `json:"schema_version"`
	Works         bool    `json:"works"` // tracing would work
	Kernel        string  `json:"kernel"`
	Architecture  string  `json:"architecture"`
	PID           int     `json:"pid,omitempty"` // of the process that was looked at
	Checks        []Check `json:"checks"`
}

// NewReport puts checks together.
func NewReport(kernel, architecture string, pid int, checks []Check) *Report {
	r := &Report{
		SchemaVersion: SchemaVersion, Kernel: kernel, Architecture: architecture, PID: pid, Checks: checks,
	}
	r.Works = len(r.Broken()) == 0
	return r
}

// Broken returns the required checks that are not fine.
func (r *Report) Broken() []Check {
	var broken []Check
	for _, c := range r.Checks {
		if c.Required && (c.Result == Missing || c.Result == Unknown) {
			broken = append(broken, c)
		}
	}
	return broken
}

// WriteJSON writes the report as one indented JSON object.
func WriteJSON(w io.Writer, r *Report) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	if _, err = w.Write(append(inspect.SafeJSON(nil, text), '\n')); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}
