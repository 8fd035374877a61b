// SPDX-License-Identifier: Apache-2.0

package usdt

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func flagPair(provider, enter string, exits ...string) PairSpec {
	p := newPair(OriginFlag, provider, enter, exits...)
	p.Name, p.DefaultOn, p.Why = phaseName(provider, enter), true, "asked for"
	return p
}

func TestParsePair(t *testing.T) {
	with := func(p PairSpec, change func(*PairSpec)) PairSpec {
		change(&p)
		return p
	}
	query := flagPair("postgresql", "query__start", "query__done")
	for text, want := range map[string]PairSpec{
		"postgresql:query__start/query__done":       query,
		" postgresql : query__start / query__done ": query,
		"p:a/b,c, d":                flagPair("p", "a", "b", "c", "d"),
		"p:a/b;name=work":           with(flagPair("p", "a", "b"), func(p *PairSpec) { p.Name = "work" }),
		"p:a/b;name=a / b = c":      with(flagPair("p", "a", "b"), func(p *PairSpec) { p.Name = "a / b = c" }),
		"p:a/b;name=argument":       with(flagPair("p", "a", "b"), func(p *PairSpec) { p.Name = "argument" }),
		"p:a/b;name=arg":            with(flagPair("p", "a", "b"), func(p *PairSpec) { p.Name = "arg" }),
		"p:a/b;name=arg11:str":      with(flagPair("p", "a", "b"), func(p *PairSpec) { p.Name, p.NameArg = "", &AttrSpec{Key: "name", Arg: 11, Type: TypeStr, LenArg: 0} }),
		"p:a/b;name=arg3:str(arg4)": with(flagPair("p", "a", "b"), func(p *PairSpec) { p.Name, p.NameArg = "", &AttrSpec{Key: "name", Arg: 3, Type: TypeStrLen, LenArg: 4} }),
		"p:a/b;attr.x=arg0":         with(flagPair("p", "a", "b"), func(p *PairSpec) { p.Attrs = []AttrSpec{{Key: "x", Arg: 0, Type: TypeInt, LenArg: 0}} }),
		"p:a/b;attr.x=arg0:int;attr.y=arg1:uint;attr.z=arg2:hex;attr.s=arg3:str;attr.l=arg4:str(arg5)": with(flagPair("p", "a", "b"), func(p *PairSpec) {
			p.Attrs = []AttrSpec{{Key: "x", Arg: 0, Type: TypeInt, LenArg: 0}, {Key: "y", Arg: 1, Type: TypeUint, LenArg: 0}, {Key: "z", Arg: 2, Type: TypeHex, LenArg: 0}, {Key: "s", Arg: 3, Type: TypeStr, LenArg: 0}, {Key: "l", Arg: 4, Type: TypeStrLen, LenArg: 5}}
		}),
		"p:a/b;lane=transaction": with(flagPair("p", "a", "b"), func(p *PairSpec) { p.Lane = "transaction" }),
		"p:a/b;key=arg2":         with(flagPair("p", "a", "b"), func(p *PairSpec) { p.Key = []KeyArg{{2, 2}} }),
		"p:a/b;key=arg0+arg7":    with(flagPair("p", "a", "b"), func(p *PairSpec) { p.Key = []KeyArg{{0, 0}, {7, 7}} }),
		"p:a/b;key=arg1/arg0":    with(flagPair("p", "a", "b"), func(p *PairSpec) { p.Key = []KeyArg{{1, 0}} }),
		"p:a/b;key=arg0+arg7/arg1+arg2": with(flagPair("p", "a", "b"), func(p *PairSpec) {
			p.Key = []KeyArg{{0, 1}, {7, 2}}
		}),
		" +p:a/b": with(flagPair("p", "a", "b"), func(p *PairSpec) { p.Added = true }),
		"+p:a/b;exit.attr.rows=arg11": with(flagPair("p", "a", "b"), func(p *PairSpec) {
			p.Added, p.ExitAttrs = true, []AttrSpec{{Key: "rows", Arg: 11, Type: TypeInt, LenArg: 0}}
		}),
		"p:a/b;exit.attr.rows=arg1:uint;attr.rows=arg1;exit.attr.error=arg0:str(arg2)": with(flagPair("p", "a", "b"), func(p *PairSpec) {
			p.Attrs = []AttrSpec{{Key: "rows", Arg: 1, Type: TypeInt, LenArg: 0}}
			p.ExitAttrs = []AttrSpec{{Key: "rows", Arg: 1, Type: TypeUint, LenArg: 0}, {Key: "error", Arg: 0, Type: TypeStrLen, LenArg: 2}}
		}),
		"p:a/b;reentrant=false": with(flagPair("p", "a", "b"), func(p *PairSpec) { p.Reentrant = false }),
		"p:a/b;reentrant=true":  flagPair("p", "a", "b"),
		"p:a/b;outer.attr.x=var(v.1):str;exit.attr.y=var(w):str;reset=c,f()": with(flagPair("p", "a", "b"), func(p *PairSpec) {
			p.Attrs = []AttrSpec{{Key: "x", Arg: NoArg, Type: TypeStr, Variable: "v.1", Outer: true}}
			p.ExitAttrs = []AttrSpec{{Key: "y", Arg: NoArg, Type: TypeStr, Variable: "w"}}
			p.Resets = []string{"c", "f()"}
		}),
		"p:a/b;attr.x=c.arg0:str;outer.attr.y=d.e.arg1;stale=failed": with(flagPair("p", "a", "b"), func(p *PairSpec) {
			p.Attrs = []AttrSpec{{Key: "x", Probe: "c", Type: TypeStr}, {Key: "y", Probe: "d.e", Arg: 1, Outer: true}}
			p.Fails = true
		}),
		"p:a/b;attr.x=arg0:word(0=none|0x1=read lock);exit.attr.y=arg1:flags(1=wait|4=force)": with(flagPair("p", "a", "b"), func(p *PairSpec) {
			p.Attrs = []AttrSpec{{Key: "x", Type: TypeWord, Words: "0=none|1=read lock"}}
			p.ExitAttrs = []AttrSpec{{Key: "y", Arg: 1, Type: TypeFlags, Words: "0x1=wait|0x4=force"}}
		}),
		"p:a/b;reset=c,d": with(flagPair("p", "a", "b"), func(p *PairSpec) { p.Resets = []string{"c", "d"} }),
	} {
		got, err := ParsePair(text)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%q: error %v (-want +got)\n%s", text, err, diff)
		}
		again, err := ParsePair(got.String())
		if diff := cmp.Diff(want, again); err != nil || diff != "" {
			t.Errorf("%q, written as %q: error %v\n%s", text, got, err, diff)
		}
	}
}

// TestParsePairErrors: each error quotes what is wrong and says what is
// expected.
func TestParsePairErrors(t *testing.T) {
	for text, want := range map[string]string{
		"":                                        `"" has no colon after the provider; want [+]PROVIDER:ENTER/EXIT`,
		"query__start/query__done":                `"query__start/query__done" has no colon`,
		"p:a":                                     `"a" has no slash between the enter and the exit probe`,
		":a/b":                                    "no provider",
		"p:/b":                                    "no enter probe",
		"p:a/":                                    "no exit probe",
		"p:a/b,":                                  "no exit probe",
		"p:a/b,b":                                 `exit probe "b" is given twice`,
		"p:a/b,a":                                 `probe "a" cannot be both`,
		"p:a b/c":                                 `enter probe "a b": ' ' cannot be part of it`,
		"p:a/b/c":                                 `'/' cannot be part`,
		"p:a:c/b":                                 `':' cannot be part`,
		"p:a/b\x01":                               `cannot be part of it`,
		"p:a/b\xff":                               "not valid UTF-8",
		"p:a/b;":                                  `"" is not of the form OPTION=VALUE`,
		"p:a/b;name":                              `"name" is not of the form OPTION=VALUE`,
		"p:a/b;name=":                             `option "name" has no value`,
		"p:a/b;name=x;name=y":                     `option "name" is given twice`,
		"p:a/b;attr.x=arg1;attr.x=arg2":           `option "attr.x" is given twice`,
		"p:a/b;nmae=x":                            `unknown option "nmae": want name, attr.KEY, outer.attr.KEY, exit.attr.KEY, lane, key, reentrant, reset or stale`,
		"p:a/b;attr.x=arg1;outer.attr.x=arg2":     `attribute "x" is given twice`,
		"p:a/b;exit.attr.x=c.arg0":                `"c.arg0": an exit has no attributes of other probes`,
		"p:a/b;attr.x=.arg0":                      "no probe",
		"p:a/b;attr.x=var(v)":                     `"var(v)": want var(NAME):str`,
		"p:a/b;attr.x=var(v):int":                 "want var(NAME):str",
		"p:a/b;attr.x=var():str":                  `"" cannot be the name of a variable`,
		"p:a/b;attr.x=var(1v):str":                `"1v" cannot be the name of a variable`,
		"p:a/b;attr.x=c.var(v):str":               "a variable is of no probe",
		"p:a/b;reset=c,()":                        `"" cannot be the name of a function`,
		"p:a/b;reset=d-e()":                       `"d-e" cannot be the name of a function`,
		"p:a/b;stale=gone":                        "option stale=gone: want abandoned or failed",
		"p:a/b;attr.x=arg0:word(1=a":              "no closing parenthesis",
		"p:a/b;attr.x=arg0:word(1)":               `"1" is not of the form N=WORD`,
		"p:a/b;attr.x=arg0:word(1=a|1=b)":         `"1" has two words`,
		"p:a/b;attr.x=arg0:flags(x=a)":            `"x=a" is not of the form N=WORD`,
		"p:a/b;name=arg0:word(1=a)":               "a name is a string",
		"p:a/b;attr.=arg1":                        "want attr.KEY=argN[:TYPE]",
		"p:a/b;attr.x=1":                          `option attr.x=1: "1" is not an argument: want arg0 to arg11`,
		"p:a/b;attr.x=arg12":                      `"arg12" is not an argument: want arg0 to arg11`,
		"p:a/b;attr.x=arg01":                      `"arg01" is not an argument`,
		"p:a/b;attr.x=arg-1":                      `"arg-1" is not an argument`,
		"p:a/b;attr.x=arg1:float":                 `unknown type "float": want int, uint, hex, str, str(argM), word(N=WORD|…) or flags(N=WORD|…)`,
		"p:a/b;attr.x=arg1:":                      `unknown type ""`,
		"p:a/b;attr.x=arg1:str(":                  `unknown type "str("`,
		"p:a/b;attr.x=arg1:str(4)":                `"4" is not an argument`,
		"p:a/b;attr.x=arg1:str(arg12)":            `"arg12" is not an argument`,
		"p:a/b;name=arg12":                        `option name=arg12: "arg12" is not an argument`,
		"p:a/b;name=arg1:string":                  `unknown type "string"`,
		"p:a/b;key=1":                             `option key=1: "1" is not an argument`,
		"p:a/b;key=arg1:str":                      `"arg1:str" is not an argument`,
		"p:a/b;key=arg0+":                         `"" is not an argument`,
		"p:a/b;key=arg0/":                         `"" is not an argument`,
		"p:a/b;key=arg0/arg1/arg2":                `"arg1/arg2" is not an argument`,
		"p:a/b;key=arg0+arg1/arg2":                "2 of the enter's arguments and 1 of the exit's: want as many",
		"p:a/b;key=arg0+arg0":                     "arg0 is given twice",
		"p:a/b;key=arg0+arg1+arg2+arg3+arg4":      "more than 4 arguments",
		"p:a/b;exit.attr.=arg1":                   "want exit.attr.KEY=argN[:TYPE]",
		"p:a/b;exit.attr.x=1":                     `option exit.attr.x=1: "1" is not an argument: want arg0 to arg11`,
		"p:a/b;name=arg1":                         `option name=arg1: a name is a string: want name=arg1:str, or name=arg1:str(argM)`,
		"p:a/b;name=arg1:hex":                     `a name is a string`,
		"p:a/b;exit.attr.x=arg0;exit.attr.x=arg1": `option "exit.attr.x" is given twice`,
		"+":                                      `"" has no colon`,
		"p:a/b;reentrant=no":                     "option reentrant=no: want true or false",
		"p:a/b;reset=":                           `option "reset" has no value`,
		"p:a/b;reset=c,":                         "no reset probe",
		"p:a/b;lane=a\tb":                        `'\t' cannot be part of it`,
		"p:a/b;name=" + strings.Repeat("x", 129): "longer than 128 bytes",
		"p:" + strings.Repeat("a", 257) + "/b":   "longer than 256 bytes",
		"p:a/" + strings.Repeat("b,", 200):       "given twice",
	} {
		p, err := ParsePair(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %+v, error %v; want %q", text, p, err, want)
			continue
		}
		if len(err.Error()) > 1000 {
			t.Errorf("%q: error of %d bytes", text, len(err.Error()))
		}
	}
}

func TestMarkers(t *testing.T) {
	p := Markers()
	if p.TokenArg != 0 || p.NameArg == nil || p.NameArg.Arg != 1 || p.AttrsJSON != 2 || p.RankArg != 3 ||
		p.Keyed() || !p.Reentrant || !p.DefaultOn || p.Origin != OriginMarkers {
		t.Errorf("%+v", p)
	}
}

func names(list ...string) []Site {
	var sites []Site
	for _, s := range list {
		provider, name, _ := strings.Cut(s, ":")
		sites = append(sites, Site{Provider: provider, Name: name})
	}
	return sites
}

func TestByRule(t *testing.T) {
	sites := names(
		"p:a__start", "p:a__done", "p:b__begin", "p:b__end", "p:c__entry", "p:c__return", "p:d__enter", "p:d__exit",
		"p:e_start", "p:e_end", "p:f_begin", "p:f_end", "p:g_enter", "p:g_exit", "p:h_entry", "p:h_exit",
		"p:part__of__it__start", "p:part__of__it__done", // two words
		"p:a__start", "p:a__done", // more sites
		"p:i__start", "p:i__end", // as _start and _end
		"p:j__start",             // no end
		"q:j__done",              // another provider's
		"p:k__done",              // no start
		"p:l__start", "p:l_done", // endings that do not match
		"p:__start", "p:__done", // nothing shared
		"p:mutex__lock__entry", "p:mutex__lock__return", "p:run_tasks_start", "p:run_tasks_end", // very frequent
		"p:unlocked__start", "p:unlocked__done", // not that word
		"phasetrace:enter", "phasetrace:exit", "phasetrace:x__start", "phasetrace:x__done",
	)
	var got []string
	for _, p := range ByRule(sites) {
		s := p.String() + " = " + p.Name
		if !p.DefaultOn {
			s += ", off"
		}
		if p.Why == "" || p.Origin != OriginRule || !p.Reentrant || p.Keyed() {
			t.Errorf("%+v", p)
		}
		got = append(got, s)
	}
	want := []string{
		"p:a__start/a__done = a", "p:b__begin/b__end = b", "p:c__entry/c__return = c", "p:d__enter/d__exit = d",
		"p:e_start/e_end = e", "p:f_begin/f_end = f", "p:g_enter/g_exit = g", "p:h_entry/h_exit = h",
		"p:part__of__it__start/part__of__it__done = part-of-it",
		"p:i__start/i__end = i",
		"p:__start/__done = p",
		"p:mutex__lock__entry/mutex__lock__return = mutex-lock, off",
		"p:run_tasks_start/run_tasks_end = run_tasks, off",
		"p:unlocked__start/unlocked__done = unlocked",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestChoose(t *testing.T) {
	markers := names("phasetrace:enter", "phasetrace:exit", "phasetrace:enter")
	postgres := names("postgresql:query__start", "postgresql:query__done", "postgresql:query__parse__start",
		"postgresql:transaction__start", "postgresql:transaction__abort", "postgresql:sort__start", "postgresql:sort__done",
		"postgresql:other__start", "postgresql:other__done", "postgresql:PortalErrorCleanup()")
	own := names("app:step__start", "app:step__done", "app:lock__start", "app:lock__done")
	flag := func(s string) PairSpec {
		p, err := ParsePair(s)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	for name, test := range map[string]struct {
		sites []Site
		flags []PairSpec
		want  []string // + or -, provider:enter, a part of why
	}{
		"nothing": {},
		"markers": {append(append(markers, own...), postgres...), nil, []string{
			"+ phasetrace:enter own markers",
			"- postgresql:query__start own markers come first",
			"- postgresql:transaction__start come first",
			"- postgresql:transaction__start off by default: ",
			"- postgresql:query__parse__start no exit",
			"- postgresql:sort__start off by default",
			"- app:step__start own markers come first",
			"- app:lock__start off by default",
			"- postgresql:other__start not in the catalogue"}},
		"catalogue": {append(own, postgres...), nil, []string{
			"+ postgresql:query__start PostgreSQL: one phase",
			"+ postgresql:transaction__start cross queries",
			"- postgresql:transaction__start off by default: ",
			"- postgresql:query__parse__start no exit",
			"- postgresql:sort__start off by default: ",
			"- app:step__start pairs of known programs come first",
			"- app:lock__start (lock)",
			"- postgresql:other__start not in the catalogue"}},
		"rules": {own, nil, []string{"+ app:step__start paired by name", "- app:lock__start (lock)"}},
		"half a marker": {append(names("phasetrace:enter"), own...), nil, []string{
			"- phasetrace:enter no exit: no probe phasetrace:exit", "+ app:step__start paired by name", "- app:lock__start (lock)"}},
		"flags": {append(own, postgres...), []PairSpec{flag("app:lock__start/lock__done"), flag("app:step-start/step__done"),
			flag("app:step__start/step-done"), flag("gone:a/b")}, []string{
			"+ app:lock__start asked for",
			"- app:step-start no probe app:step-start in these files; did you mean app:step__start?",
			"- app:step__start no exit: no probe app:step-done in these files; did you mean app:step__done?",
			"- gone:a no probe gone:a",
			"- postgresql:query__start replace the default",
			"- postgresql:transaction__start replace",
			"- postgresql:transaction__start replace",
			"- postgresql:query__parse__start replace",
			"- postgresql:sort__start replace",
			"- postgresql:other__start replace"}},
		"added": {own, []PairSpec{flag("+app:lock__start/lock__done"), flag("+gone:a/b")}, []string{
			"+ app:lock__start asked for", "- gone:a no probe gone:a", "+ app:step__start paired by name"}},
		"added to the catalogue": {append(own, postgres...), []PairSpec{flag("+app:step__start/step__done"), flag("+postgresql:query__start/query__done;name=q")}, []string{
			"+ app:step__start asked for",
			"+ postgresql:query__start asked for",
			"+ postgresql:transaction__start cross queries",
			"- postgresql:transaction__start off by default: ",
			"- postgresql:query__parse__start no exit",
			"- postgresql:sort__start off by default: ",
			"- app:lock__start (lock)",
			"- postgresql:other__start not in the catalogue"}},
		"added, but not there": {own, []PairSpec{flag("+app:step__start/step__over")}, []string{
			"- app:step__start no exit", "+ app:step__start paired by name", "- app:lock__start (lock)"}},
		"added beside others": {own, []PairSpec{flag("+app:step__start/step__done"), flag("gone:a/b")}, []string{
			"+ app:step__start asked for", "- gone:a no probe", "- app:lock__start replace the default"}},
		"php off by default": {names("php:function__entry", "php:function__return", "app:step__start", "app:step__done"), nil, []string{
			"- php:function__entry off by default: PHP: every function call", "+ app:step__start paired by name"}},
	} {
		choices := Choose(test.sites, test.flags)
		for i, c := range choices {
			got := map[bool]string{true: "+", false: "-"}[c.Chosen] + " " + c.Pair.Provider + ":" + c.Pair.Enter
			if i >= len(test.want) || !strings.HasPrefix(test.want[i], got+" ") || !strings.Contains(c.Why, strings.TrimPrefix(test.want[i], got+" ")) {
				t.Errorf("%s: choice %d is %q, why: %s", name, i, got, c.Why)
			}
			for _, at := range c.EnterSites {
				if test.sites[at].Name != c.Pair.Enter {
					t.Errorf("%s: %s enters at %s", name, c.Pair, test.sites[at].Name)
				}
			}
		}
		if len(choices) != len(test.want) {
			t.Errorf("%s: %d choices, want %d", name, len(choices), len(test.want))
		}
	}
	c := Choose(postgres, nil)[0]
	if diff := cmp.Diff([][]int{{0}, {1}, {9}}, [][]int{c.EnterSites, c.ExitSites, c.ResetSites}); diff != "" {
		t.Error(diff)
	}
	if c := Choose(markers, nil)[0]; len(c.EnterSites) != 2 || len(c.Warnings) == 0 {
		t.Errorf("markers without arguments: %+v", c)
	}
}
