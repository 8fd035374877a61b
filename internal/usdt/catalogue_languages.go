// SPDX-License-Identifier: Apache-2.0

package usdt

var python = program{
	name:      "CPython",
	providers: []string{"python"},
	unlisted:  "not in the catalogue of its pairs",
	pairs: []entry{
		{spec: "python:gc__start/gc__done;name=gc;attr.generation=arg0;exit.attr.collected=arg0;reentrant=false",
			on: on, why: "garbage collections"},
		{spec: "python:import__find__load__start/import__find__load__done;name=import;attr.module=arg0:str;exit.attr.found=arg1",
			on: on, why: "imports of modules that were not loaded yet"},
		{spec: "python:function__entry/function__return;name=arg1:str;attr.file=arg0:str;attr.line=arg2;exit.attr.line=arg2",
			on: off, why: "every function call",
			requires: "use CPython 3.10 or earlier: from 3.11 on function__entry may never fire (cpython#98894)"},
	},
}

var ruby = program{
	name:      "Ruby",
	providers: []string{"ruby"},
	unlisted:  "not in the catalogue of its pairs",
	pairs: []entry{
		{spec: "ruby:gc__mark__begin/gc__mark__end;name=gc mark;reentrant=false",
			on: on, why: "garbage collections"},
		{spec: "ruby:gc__sweep__begin/gc__sweep__end;name=gc sweep;reentrant=false",
			on: on, why: "garbage collections"},
		{spec: "ruby:require__entry/require__return;name=require;attr.name=arg0:str;attr.file=arg1:str;attr.line=arg2",
			on: on, why: "what a program loads"},
		{spec: "ruby:load__entry/load__return;name=load;attr.name=arg0:str;attr.file=arg1:str;attr.line=arg2",
			on: on, why: "what a program loads"},
		{spec: "ruby:parse__begin/parse__end;name=parse;attr.file=arg0:str;attr.line=arg1",
			on: on, why: "a part of each load"},
		{spec: "ruby:find__require__entry/find__require__return;name=find;attr.name=arg0:str;attr.file=arg1:str;attr.line=arg2",
			on: off, why: "a short part of each require"},
		{spec: "ruby:cmethod__entry/cmethod__return;name=arg1:str;attr.class=arg0:str;attr.file=arg2:str;attr.line=arg3",
			on: off, why: "every call of a method written in C"},
		{spec: "ruby:method__entry/method__return;name=arg1:str;attr.class=arg0:str;attr.file=arg2:str;attr.line=arg3",
			on: off, why: "every method call",
			requires: "enable a TracePoint in the program, such as TracePoint.new(:call, :return){}.enable"},
	},
}

// A fatal error leaves PHP's functions by a long jump and skips their returns;
// the next request shows what is stale. The first argument of
// compile__file__entry is the opened path, which PHP does not know yet at that
// point; at the return it does. The end of a request tells what its start does.
var php = program{
	name:      "PHP",
	providers: []string{"php"},
	unlisted:  "not in the catalogue of its pairs",
	requires:  "start php with USE_ZEND_DTRACE=1 in its environment",
	pairs: []entry{
		{spec: "php:request__startup/request__shutdown;name=request;attr.file=arg0:str;attr.uri=arg1:str;attr.method=arg2:str;reentrant=false",
			on: on, why: "one phase for each request"},
		{spec: "php:compile__file__entry/compile__file__return;name=compile;attr.file=arg1:str;exit.attr.path=arg0:str",
			on: on, why: "each file that is compiled"},
		{spec: "php:execute__entry/execute__return;name=execute;attr.file=arg0:str;attr.line=arg1;exit.attr.line=arg1",
			on: off, why: "very frequent: every call of a PHP function"},
		{spec: "php:function__entry/function__return;name=arg0:str;attr.file=arg1:str;attr.line=arg2;attr.class=arg3:str;exit.attr.line=arg2",
			on: off, why: "every function call"},
	},
}
