// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"strconv"
	"testing"

	"github.com/phasetrace/phasetrace/internal/doctor"
	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/testenv"
)

func TestDoctorRefuses(t *testing.T) {
	looked("doctor", "x").want(t, statusUsage, "unexpected argument")
	looked("doctor", "-p", "-1").want(t, statusUsage, "--pid -1")
	looked("doctor", "-p", "4194304").want(t, statusFailed, "no such process", "Tracing process 4194304 does not work")
}

func TestDoctorOfMachineAndProcess(t *testing.T) {
	testenv.BPF(t)
	pid := strconv.Itoa(fixture.Start(t, fixture.Build(t, "phases.c")).Pid())
	looked("doctor").want(t, statusFine, "ring_buffer", "nop_rewriting", "Tracing works")
	looked("doctor", "-p", pid).want(t, statusFine, "Process "+pid, "nop:"+ourNop(), "Tracing process "+pid+" works")
	r := looked("doctor", "--json", "-p", pid)
	r.want(t, statusFine)
	var report doctor.Report
	if err := json.Unmarshal([]byte(r.out), &report); err != nil {
		t.Fatal(err)
	}
	if !report.Works || report.SchemaVersion != doctor.SchemaVersion || len(report.Checks) < 20 {
		t.Errorf("%+v", report)
	}
}
