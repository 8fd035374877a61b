// SPDX-License-Identifier: Apache-2.0

package usdt

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"runtime"
	"strings"
	"testing"
	"time"
)

// hostile returns files made to cost as much as they can.
func hostile() map[string][]byte {
	const at = codeBase + codeAt
	fill := func(note []byte) []byte { return bytes.Repeat(note, maxNoteBytes/len(note)) }
	wanted := strings.Repeat("a", maxSymbolName)
	entry := make([]byte, symbolSize)
	binary.LittleEndian.PutUint32(entry, 1)
	entry[6] = 1
	symbols := bytes.Repeat(entry, maxSymbolTable/symbolSize)
	for i := 0; i < len(symbols); i += symbolSize {
		binary.LittleEndian.PutUint32(symbols[i:], uint32(1+i%1000*maxSymbolName))
	}
	table := func(link uint32) testSection {
		return testSection{".symtab", elf.Section64{Type: uint32(elf.SHT_SYMTAB), Link: link}, symbols}
	}
	names := testSection{".strtab", elf.Section64{Type: uint32(elf.SHT_STRTAB)}, []byte(strings.Repeat("\x00"+wanted, maxStringTable/(maxSymbolName+1)))}
	var sections []testSection
	for range 60000 {
		sections = append(sections, testSection{strings.Repeat("n", 200), elf.Section64{Type: uint32(elf.SHT_NOTE)}, nil})
	}
	return map[string][]byte{
		"bad arguments":  (&testELF{notes: fill(sdtNote(at, 0, 0, "p", "n", strings.Repeat("1@q ", MaxArgs)))}).bytes(),
		"good arguments": (&testELF{notes: fill(sdtNote(at, 0, 0, "p", "n", strings.Repeat("1@%al ", MaxArgs)))}).bytes(),
		"bad notes":      (&testELF{notes: fill(rawNote("x", 1, 0, 0, 0, ""))}).bytes(),
		"empty notes":    (&testELF{notes: make([]byte, maxNoteBytes)}).bytes(),
		"one long text":  (&testELF{notes: sdtNote(at, 0, 0, "p", "n", strings.Repeat("(", maxNoteBytes-100))}).bytes(),
		"long operands":  (&testELF{notes: fill(sdtNote(at, 0, 0, "p", "n", strings.Repeat("8@"+strings.Repeat("1+", 500)+"1(%rax) ", MaxArgs)))}).bytes(),
		"many operands":  (&testELF{notes: sdtNote(at, 0, 0, "p", "n", strings.Repeat("8@%rax ", maxNoteBytes/7-10))}).bytes(),
		"symbols": (&testELF{
			notes:    fill(sdtNote(at, 0, 0, "p", "n", strings.Repeat("8@"+wanted+"(%rip) ", MaxArgs))),
			sections: []testSection{table(4), table(4), names},
		}).bytes(),
		"symbol table too large": (&testELF{
			notes:    sdtNote(at, 0, 0, "p", "n", "8@a(%rip)"),
			sections: []testSection{{".symtab", elf.Section64{Type: uint32(elf.SHT_SYMTAB), Link: 3}, append(symbols, symbols[:symbolSize]...)}, names},
		}).bytes(),
		"sections": (&testELF{notes: sdtNote(at, 0, 0, "p", "n", ""), sections: sections}).bytes(),
	}
}

// TestReadMemory: no file makes Read allocate 100 MB. What is counted is all
// that was ever allocated, so the peak is lower still.
func TestReadMemory(t *testing.T) {
	for name, file := range hostile() {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		f, err := readBytes(file)
		took := time.Since(start)
		runtime.ReadMemStats(&after)
		total := after.TotalAlloc - before.TotalAlloc
		sites := 0
		if f != nil {
			sites = len(f.Sites)
		}
		t.Logf("%s: file of %d MB, %d MB allocated, %v, %d sites, error %v", name, len(file)>>20, total>>20, took.Round(time.Millisecond), sites, err)
		if total > 100<<20 {
			t.Errorf("%s: %d MB allocated", name, total>>20)
		}
		if f != nil && len(f.Problems) > maxProblems+1 {
			t.Errorf("%s: %d problems", name, len(f.Problems))
		}
		before = after
		in, size := bytes.NewReader(file), int64(len(file))
		_, _ = FindFunctions(in, size, "f")
		_, _ = HasText(in, size, "a text")
		runtime.ReadMemStats(&after)
		if total := after.TotalAlloc - before.TotalAlloc; total > 100<<20 {
			t.Errorf("%s: %d MB allocated by the search for functions and texts", name, total>>20)
		}
	}
}
