// SPDX-License-Identifier: Apache-2.0

package usdt

// A statement that fails skips every done probe on its way out. What shows it:
//
//   - query__start fires for a message of the simple protocol only, never for
//     what functions run, so an open query is stale when another starts.
//   - Parsing and rewriting run no SQL, so they do not nest in themselves
//     either. Planning and executing do, through functions, and a portal that
//     modifies rows executes within its own execution.
//   - statement__status fires when the backend takes up a statement and when
//     it becomes idle, both outside of everything. It is what ends the stale
//     phases of drivers that speak the extended protocol, where no query__start
//     ever comes.
//
// Transactions span queries and end within one, so they have a lane of their
// own. PREPARE TRANSACTION fires no end; the next start shows it.
//
// The ends of queries and their parts have nothing to tell but the text, and those
// of transactions nothing but their id. What the end of buffer__read tells has
// changed places in PostgreSQL 16, and no argument says which of the two it is.
var postgresql = program{
	name:      "PostgreSQL",
	providers: []string{"postgresql"},
	unlisted:  "not in the catalogue of its pairs",
	pairs: []entry{
		{spec: "postgresql:query__start/query__done;name=query;attr.sql=arg0:str;reentrant=false;reset=statement__status",
			on: on, why: "one phase for each message of the simple protocol"},
		{spec: "postgresql:query__parse__start/query__parse__done;name=parse;reentrant=false;reset=query__start,statement__status",
			on: on, why: "a part of each query"},
		{spec: "postgresql:query__rewrite__start/query__rewrite__done;name=rewrite;reentrant=false;reset=query__start,statement__status",
			on: on, why: "a part of each query"},
		{spec: "postgresql:query__plan__start/query__plan__done;name=plan;reset=query__start,statement__status",
			on: on, why: "a part of each query"},
		{spec: "postgresql:query__execute__start/query__execute__done;name=execute;reset=query__start,statement__status",
			on: on, why: "a part of each query"},
		{spec: "postgresql:transaction__start/transaction__commit,transaction__abort;name=transaction;attr.lxid=arg0:uint;lane=transaction;reentrant=false",
			on: on, why: "transactions, on a lane of their own because they cross queries"},

		{spec: "postgresql:checkpoint__start/checkpoint__done;name=checkpoint;attr.flags=arg0:hex;exit.attr.written=arg0;exit.attr.buffers=arg1;exit.attr.wal_added=arg2;exit.attr.wal_removed=arg3;exit.attr.wal_recycled=arg4;reentrant=false",
			on: on, why: "rare and long"},
		{spec: "postgresql:buffer__checkpoint__start/buffer__checkpoint__done;name=checkpoint buffers;attr.flags=arg0:hex;reentrant=false",
			on: on, why: "a part of each checkpoint"},
		{spec: "postgresql:buffer__sync__start/buffer__sync__done;name=sync buffers;attr.buffers=arg0;attr.to_write=arg1;exit.attr.written=arg1;reentrant=false",
			on: on, why: "a part of each checkpoint"},
		{spec: "postgresql:clog__checkpoint__start/clog__checkpoint__done;name=checkpoint clog;reentrant=false",
			on: on, why: "a part of each checkpoint"},
		{spec: "postgresql:subtrans__checkpoint__start/subtrans__checkpoint__done;name=checkpoint subtrans;reentrant=false",
			on: on, why: "a part of each checkpoint"},
		{spec: "postgresql:multixact__checkpoint__start/multixact__checkpoint__done;name=checkpoint multixact;reentrant=false",
			on: on, why: "a part of each checkpoint"},
		{spec: "postgresql:twophase__checkpoint__start/twophase__checkpoint__done;name=checkpoint two-phase;reentrant=false",
			on: on, why: "a part of each checkpoint"},

		{spec: "postgresql:sort__start/sort__done;name=sort;lane=sort;attr.type=arg0;attr.unique=arg1;attr.keys=arg2;attr.work_mem_kb=arg3;exit.attr.external=arg0;exit.attr.space=arg1;reset=query__start,statement__status",
			on: off, why: "very frequent, and sorts of one plan overlap instead of nesting"},
		{spec: "postgresql:buffer__read__start/buffer__read__done;name=read buffer;attr.fork=arg0;attr.block=arg1:uint;attr.tablespace=arg2:uint;attr.database=arg3:uint;attr.relation=arg4:uint;reentrant=false",
			on: off, why: "very frequent: each page that is looked at"},
		{spec: "postgresql:buffer__flush__start/buffer__flush__done;name=flush buffer;attr.fork=arg0;attr.block=arg1:uint;attr.tablespace=arg2:uint;attr.database=arg3:uint;attr.relation=arg4:uint;reentrant=false",
			on: off, why: "very frequent: each page that is written"},
		{spec: "postgresql:buffer__extend__start/buffer__extend__done;name=extend relation;attr.fork=arg0;attr.tablespace=arg1:uint;attr.database=arg2:uint;attr.relation=arg3:uint;attr.backend=arg4;attr.blocks=arg5:uint;reentrant=false",
			on: off, why: "frequent while tables grow; from PostgreSQL 16 on"},
		{spec: "postgresql:buffer__write__dirty__start/buffer__write__dirty__done;name=write dirty buffer;attr.fork=arg0;attr.block=arg1:uint;attr.tablespace=arg2:uint;attr.database=arg3:uint;attr.relation=arg4:uint;reentrant=false",
			on: off, why: "frequent when buffers are short"},
		{spec: "postgresql:wal__buffer__write__dirty__start/wal__buffer__write__dirty__done;name=write dirty WAL buffer;reentrant=false",
			on: off, why: "frequent when WAL buffers are short"},
		{spec: "postgresql:smgr__md__read__start/smgr__md__read__done;name=read file;attr.fork=arg0;attr.block=arg1:uint;attr.tablespace=arg2:uint;attr.database=arg3:uint;attr.relation=arg4:uint;exit.attr.bytes=arg6;exit.attr.requested=arg7;reentrant=false",
			on: off, why: "very frequent: each page that is read"},
		{spec: "postgresql:smgr__md__write__start/smgr__md__write__done;name=write file;attr.fork=arg0;attr.block=arg1:uint;attr.tablespace=arg2:uint;attr.database=arg3:uint;attr.relation=arg4:uint;exit.attr.bytes=arg6;exit.attr.requested=arg7;reentrant=false",
			on: off, why: "very frequent: each page that is written"},
		{spec: "postgresql:lwlock__wait__start/lwlock__wait__done;name=wait for light lock;attr.tranche=arg0:str;attr.mode=arg1;reentrant=false",
			on: off, why: "very frequent on a busy server"},
		{spec: "postgresql:lock__wait__start/lock__wait__done;name=wait for lock;attr.field1=arg0:uint;attr.field2=arg1:uint;attr.field3=arg2:uint;attr.field4=arg3:uint;attr.type=arg4;attr.mode=arg5;reentrant=false;reset=query__start,statement__status",
			on: off, why: "very frequent on a contended server"},
	},
}
