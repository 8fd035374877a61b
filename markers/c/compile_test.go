// SPDX-License-Identifier: Apache-2.0

package c_test

import (
	"testing"
)

// flagSets are ways in which programs are built.
var flagSets = []string{
	"-O0",
	"-O2",
	"-O3 -fPIC -fno-plt",
	"-O2 -fno-pie -no-pie",
	"-O2 -static",
	"-Os -ffunction-sections -fdata-sections -Wl,--gc-sections",
	"-O2 -flto",
	"-O2 -fvisibility=hidden -fno-strict-aliasing",
	"-O2 -fno-inline -fstack-protector-strong",
	"-O2 -finstrument-functions -nostartfiles -r",
	"-O2 -DPHASETRACE_DISABLE",
}

func TestCompilesWithoutWarnings(t *testing.T) {
	t.Parallel()
	for _, c := range cCompilers(t) {
		for _, std := range []string{"-std=c99", "-std=c11"} {
			tryFlagSets(t, c, append([]string{std, "everything.c"}, warnings...), flagSets)
		}
		tryFlagSets(t, c, append([]string{"-std=gnu17", "everything.c"}, warnings...), flagSets[:1])
	}
	cpp := append(append([]string{"-x", "c++", "everything.c"}, warnings...), cppWarnings...)
	for _, c := range cppCompilers(t) {
		for _, std := range []string{"-std=c++11", "-std=c++20"} {
			sets := append([]string{"-O2 -fno-exceptions -fno-rtti"}, flagSets...)
			tryFlagSets(t, c, append([]string{std}, cpp...), sets)
		}
		tryFlagSets(t, c, append([]string{"-std=gnu++17"}, cpp...), flagSets[:1])
	}
}

func tryFlagSets(t *testing.T, c compiler, base, sets []string) {
	t.Helper()
	for _, set := range sets {
		t.Run(c.String()+" "+set, func(t *testing.T) {
			flags := c.flags(set)
			c.needLinker(t, flags)
			c.run(t, append(append([]string{}, base...), flags...)...)
		})
	}
}

// A misuse that compiles without a word would show up in a trace much later.
func TestMisuseDoesNotCompile(t *testing.T) {
	t.Parallel()
	for _, flags := range []string{"", "-DPHASETRACE_DISABLE"} {
		for name, body := range map[string]string{
			"name is a number":    `phasetrace_exit(phasetrace_enter(1.5), "a");`,
			"token is a string":   `phasetrace_exit("a", "a");`,
			"attrs are a struct":  `struct {int x;} s = {1}; (void)phasetrace_enter_attrs("a", s);`,
			"exit without a name": `phasetrace_exit(1);`,
		} {
			for _, c := range native(cCompilers(t)) {
				args := append([]string{"-Werror", snippet(t, "c", "int main(void) {"+body+" return 0; }\n")}, split(flags)...)
				if text, err := c.try(t.TempDir()+"/out", args...); err == nil {
					t.Errorf("%s %s: %s: compiled: %s", c, flags, name, text)
				}
			}
		}
	}
}
