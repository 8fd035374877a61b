// SPDX-License-Identifier: Apache-2.0

package usdt

// HotSpot passes strings by address and length, not NUL-terminated.
// Safepoints, operations of the VM thread and collections nest in this order.
// A collection announces all its memory pools and then ends them in the same
// order, so pools do not nest; the address of a pool's name, which is the
// same at both ends, matches them.
var hotspot = program{
	name:      "OpenJDK HotSpot",
	providers: []string{"hotspot", "hotspot_jni", "hs_private"},
	unlisted:  "very frequent, or not in the catalogue of its pairs",
	pairs: []entry{
		{spec: "hotspot:gc__begin/gc__end;name=gc;attr.full=arg0;reentrant=false",
			on: on, why: "garbage collections"},
		{spec: "hs_private:safepoint__begin/safepoint__end;name=safepoint;reentrant=false",
			on: on, why: "the times when all Java threads stand still"},
		{spec: "hotspot:vmops__begin/vmops__end;name=arg0:str(arg1);attr.mode=arg2",
			on: on, why: "operations of the VM thread, by their names"},
		{spec: "hotspot:vm__init__begin/vm__init__end;name=vm init;reentrant=false",
			on: on, why: "once in a process"},
		{spec: "hotspot:mem__pool__gc__begin/mem__pool__gc__end;name=gc pool;attr.manager=arg0:str(arg1);attr.pool=arg2:str(arg3);attr.used_bytes=arg5:uint;attr.committed_bytes=arg6:uint;attr.max_bytes=arg7;exit.attr.used_bytes=arg5:uint;exit.attr.committed_bytes=arg6:uint;key=arg2",
			on: off, why: "several memory pools at once, within each gc"},
		{spec: "hotspot:method__compile__begin/method__compile__end;name=compile;attr.compiler=arg0:str(arg1);attr.class=arg2:str(arg3);attr.method=arg4:str(arg5);exit.attr.success=arg8;reentrant=false",
			on: off, why: "very frequent while a program warms up"},
		{spec: "hotspot:thread__sleep__begin/thread__sleep__end;name=sleep;attr.duration=arg0;exit.attr.interrupted=arg0;reentrant=false",
			on: off, why: "a thread that sleeps does no work"},
		{spec: "hotspot:thread__park__begin/thread__park__end;name=park;attr.parker=arg0:hex;attr.absolute=arg1;attr.time=arg2;reentrant=false",
			on: off, why: "very frequent, and a parked thread does no work"},
		{spec: "hotspot:monitor__contended__enter/monitor__contended__entered;name=wait for monitor;attr.thread=arg0;attr.class=arg2:str(arg3)",
			on: off, why: "very frequent on contended programs", requires: monitorProbes},
		{spec: "hotspot:method__entry/method__return;name=arg3:str(arg4);attr.class=arg1:str(arg2);attr.signature=arg5:str(arg6)",
			on: off, why: "every method call", requires: methodProbes},
	},
}

const (
	methodProbes  = "start java with -XX:+ExtendedDTraceProbes, or from JDK 19 on with -XX:+DTraceMethodProbes"
	monitorProbes = "start java with -XX:+ExtendedDTraceProbes, or from JDK 19 on with -XX:+DTraceMonitorProbes"
)
