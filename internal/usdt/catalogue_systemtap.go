// SPDX-License-Identifier: Apache-2.0

package usdt

// stap's passes follow each other on one thread. The argument of most is the address
// of a structure. Pass 1 parses the library (1a) and then the script (1b), and has one
// end.
var systemtap = program{
	name:      "SystemTap",
	providers: []string{"stap", "stapio", "staprun"},
	unlisted:  "not in the catalogue of its pairs",
	pairs: []entry{
		{spec: "stap:pass0__start/pass0__end;name=pass 0", on: on, why: stapPass},
		{spec: "stap:pass1a__start/pass1__end;name=pass 1", on: on, why: stapPass},
		{spec: "stap:pass2__start/pass2__end;name=pass 2", on: on, why: stapPass},
		{spec: "stap:pass3__start/pass3__end;name=pass 3", on: on, why: stapPass},
		{spec: "stap:pass4__start/pass4__end;name=pass 4", on: on, why: stapPass},
		{spec: "stap:pass5__start/pass5__end;name=pass 5", on: on, why: stapPass},
		{spec: "stap:pass6__start/pass6__end;name=pass 6", on: on, why: stapPass},
		{spec: "stap:stap_system__start/stap_system__complete;name=command;attr.command=arg0:str;exit.attr.status=arg0",
			on: on, why: "the commands that stap runs"},
		{spec: "stap:client__start/client__end;name=client", on: on, why: "work that a compile server does"},
		{spec: "stap:benchmark__start/benchmark__end;name=benchmark", on: on, why: "stap's own benchmark"},
		{spec: "stap:benchmark__thread__start/benchmark__thread__end;name=benchmark thread", on: on, why: "stap's own benchmark"},
	},
}

const stapPass = "the passes that a script goes through"
