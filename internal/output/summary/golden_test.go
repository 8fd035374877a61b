// SPDX-License-Identifier: Apache-2.0

package summary

import (
	"bytes"
	"flag"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/phasetrace/phasetrace/internal/output/outputtest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestGolden(t *testing.T) {
	for _, test := range []struct {
		file    string
		session *outputtest.Session
		options Options
	}{
		{"testdata/typical.txt", outputtest.Typical(), Options{UnhitAdvice: "--unhit lists them"}},
		{"testdata/hostile.txt", outputtest.Hostile(), Options{Unhit: true}},
		{"testdata/typical80.txt", outputtest.Typical(), Options{Width: 80, Unhit: true}},
		{"testdata/short.txt", outputtest.Typical(), Options{MaxPhases: 2, MaxItems: 1, NameWidth: 6, Unhit: true}},
	} {
		t.Run(test.file, func(t *testing.T) {
			var out bytes.Buffer
			if err := test.session.Play(New(&out, test.options)); err != nil {
				t.Fatal(err)
			}
			if *update {
				if err := os.WriteFile(test.file, out.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(test.file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), out.String()); diff != "" {
				t.Errorf("summary differs (-want +got); if it should, run with -update:\n%s", diff)
			}
		})
	}
}
