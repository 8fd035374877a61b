// SPDX-License-Identifier: Apache-2.0

package usdt

// Words for numbers, as PostgreSQL's documentation has them: forks of relations
// (pg_relation_size), what log_checkpoints calls the flags of a checkpoint, and the
// types and modes of pg_locks. The numbers are those of ForkNumber, xlog.h,
// LockTagType, lockdefs.h and LWLockMode in PostgreSQL 15 to 18. PostgreSQL 18 says
// "fast" for immediate and "flush-unlogged" for flush-all.
const (
	pgFork       = "word(0=main|1=fsm|2=vm|3=init)"
	pgCheckpoint = "flags(0x1=shutdown|0x2=end-of-recovery|0x4=immediate|0x8=force|0x10=flush-all|" +
		"0x20=wait|0x40=requested|0x80=wal|0x100=time)"
	pgLockType = "word(0=relation|1=extend|2=frozenid|3=page|4=tuple|5=transactionid|6=virtualxid|" +
		"7=spectoken|8=object|9=userlock|10=advisory|11=applytransaction)"
	pgLockMode = "word(1=AccessShareLock|2=RowShareLock|3=RowExclusiveLock|4=ShareUpdateExclusiveLock|" +
		"5=ShareLock|6=ShareRowExclusiveLock|7=ExclusiveLock|8=AccessExclusiveLock)"
	pgLightMode = "word(0=exclusive|1=shared|2=wait until free)"
	pgSort      = "word(0=heap|1=index|2=datum|3=cluster)"
)

// The default choice answers the questions of docs/postgresql.md with the fewest traps:
// six for a SELECT by the simple protocol, four by the extended one, prepared or not. With
// parse, rewrite, plan and statement__status it would be 14, 14 and 7: make postgres-cost
// counts and measures. Of the parts of a query only execute is on: it is all there is of
// a prepared statement. Parsing, analysing and planning took 8, 12 and 24 % of the time
// of pgbench's SELECT, their traps included, and 1.5, 1.9 and 3.7 % of its TPC-B; a simple
// query has them in its total, and pg_stat_statements leaves planning out too by default
// (track_planning).
//
// The text of what a backend runs is where debug_query_string points: PostgreSQL sets it
// for each message of the extended protocol (parse, bind, execute) and of the simple one,
// to that statement, and to null afterwards, and exports it for extensions. So plan and
// execute have the right text whatever the order of messages, as long as they are
// outermost, at no trap of its own. What functions run inside them has a text that nobody
// tells; a wait for a lock has that of the client's statement, which it holds up, wherever
// it is. Analysing has its own: it also happens when a statement is described, and then
// there is no text.
//
// statement__status tells the same, and what autovacuum works on, which is in no variable
// that other programs could read in every release. It is hit two times for a simple
// statement, three times for one that is prepared and four times for one that is not, so
// only the transactions called "autovacuum" take it.
//
// A statement that fails skips every done probe on its way out. What shows it:
//
//   - PortalErrorCleanup is called by the error handler of PostgresMain and by nothing
//     else (PostgreSQL 11 to 18): outside of everything, whatever the protocol, and only
//     after an error, so it costs statements that succeed nothing.
//   - query__start fires for a message of the simple protocol only, never for
//     what functions run, so an open query is stale when another starts.
//   - Parsing and rewriting run no SQL, so they do not nest in themselves
//     either. Planning and executing do, through functions, and a portal that
//     modifies rows executes within its own execution.
//
// transaction__abort proves nothing: a procedure that rolls back goes on.
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
		{spec: "postgresql:query__start/query__done;name=query;attr.sql=arg0:str;reentrant=false;reset=PortalErrorCleanup();stale=failed",
			on: on, why: "one phase for each message of the simple protocol"},
		{spec: "postgresql:query__execute__start/query__execute__done;name=execute;outer.attr.sql=var(debug_query_string):str;reset=query__start,PortalErrorCleanup();stale=failed",
			on: on, why: "the run of each statement, whatever the protocol"},
		{spec: "postgresql:transaction__start/transaction__commit,transaction__abort;name=transaction;attr.lxid=arg0:uint;attr.begun_by=var(debug_query_string):str;lane=transaction;reentrant=false",
			on: on, why: "transactions, on a lane of their own because they cross queries"},
		{spec: "postgresql:transaction__start/transaction__commit,transaction__abort;name=transaction;attr.lxid=arg0:uint;attr.begun_by=statement__status.arg0:str;lane=transaction;reentrant=false",
			on: off, called: "autovacuum", why: "transactions with what autovacuum works on, as pg_stat_activity has it: a trap for each message and one each time a backend becomes idle"},
		{spec: "postgresql:query__plan__start/query__plan__done;name=plan;outer.attr.sql=var(debug_query_string):str;reset=query__start,PortalErrorCleanup();stale=failed",
			on: off, why: "two traps for each statement that is not prepared; the total of a simple query has it"},
		{spec: "postgresql:query__parse__start/query__parse__done;name=parse;outer.attr.sql=arg0:str;reentrant=false;reset=query__start,PortalErrorCleanup();stale=failed",
			on: off, why: "two traps for each statement that is not prepared, and short: 8 % of the time of pgbench -S, 1.5 % of its TPC-B"},
		{spec: "postgresql:query__rewrite__start/query__rewrite__done;name=rewrite;outer.attr.sql=arg0:str;reentrant=false;reset=query__start,PortalErrorCleanup();stale=failed",
			on: off, why: "two traps for each statement that is not prepared, and short: 12 % of the time of pgbench -S, 1.9 % of its TPC-B"},

		{spec: "postgresql:checkpoint__start/checkpoint__done;name=checkpoint;attr.flags=arg0:" + pgCheckpoint + ";exit.attr.written=arg0;exit.attr.buffers=arg1;exit.attr.wal_added=arg2;exit.attr.wal_removed=arg3;exit.attr.wal_recycled=arg4;reentrant=false",
			on: on, why: "rare and long"},
		{spec: "postgresql:buffer__checkpoint__start/buffer__checkpoint__done;name=checkpoint buffers;attr.flags=arg0:" + pgCheckpoint + ";reentrant=false",
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

		{spec: "postgresql:sort__start/sort__done;name=sort;lane=sort;attr.type=arg0:" + pgSort + ";attr.unique=arg1;attr.keys=arg2;attr.work_mem_kb=arg3;exit.attr.external=arg0;exit.attr.space=arg1;reset=query__start,PortalErrorCleanup()",
			on: off, why: "very frequent, and sorts of one plan overlap instead of nesting"},
		{spec: "postgresql:buffer__read__start/buffer__read__done;name=read buffer;attr.fork=arg0:" + pgFork + ";attr.block=arg1:uint;attr.tablespace=arg2:uint;attr.database=arg3:uint;attr.relation=arg4:uint;reentrant=false",
			on: off, why: "very frequent: each page that is looked at"},
		{spec: "postgresql:buffer__flush__start/buffer__flush__done;name=flush buffer;attr.fork=arg0:" + pgFork + ";attr.block=arg1:uint;attr.tablespace=arg2:uint;attr.database=arg3:uint;attr.relation=arg4:uint;reentrant=false",
			on: off, why: "very frequent: each page that is written"},
		{spec: "postgresql:buffer__extend__start/buffer__extend__done;name=extend relation;attr.fork=arg0:" + pgFork + ";attr.tablespace=arg1:uint;attr.database=arg2:uint;attr.relation=arg3:uint;attr.backend=arg4;attr.blocks=arg5:uint;reentrant=false",
			on: off, why: "frequent while tables grow; from PostgreSQL 16 on"},
		{spec: "postgresql:buffer__write__dirty__start/buffer__write__dirty__done;name=write dirty buffer;attr.fork=arg0:" + pgFork + ";attr.block=arg1:uint;attr.tablespace=arg2:uint;attr.database=arg3:uint;attr.relation=arg4:uint;reentrant=false",
			on: off, why: "frequent when buffers are short"},
		{spec: "postgresql:wal__buffer__write__dirty__start/wal__buffer__write__dirty__done;name=write dirty WAL buffer;reentrant=false",
			on: off, why: "frequent when WAL buffers are short"},
		{spec: "postgresql:smgr__md__read__start/smgr__md__read__done;name=read file;attr.fork=arg0:" + pgFork + ";attr.block=arg1:uint;attr.tablespace=arg2:uint;attr.database=arg3:uint;attr.relation=arg4:uint;exit.attr.bytes=arg6;exit.attr.requested=arg7;reentrant=false",
			on: off, why: "very frequent: each page that is read"},
		{spec: "postgresql:smgr__md__write__start/smgr__md__write__done;name=write file;attr.fork=arg0:" + pgFork + ";attr.block=arg1:uint;attr.tablespace=arg2:uint;attr.database=arg3:uint;attr.relation=arg4:uint;exit.attr.bytes=arg6;exit.attr.requested=arg7;reentrant=false",
			on: off, why: "very frequent: each page that is written"},
		{spec: "postgresql:lwlock__wait__start/lwlock__wait__done;name=wait for light lock;attr.tranche=arg0:str;attr.mode=arg1:" + pgLightMode + ";reentrant=false",
			on: off, why: "very frequent on a busy server"},
		{spec: "postgresql:lock__wait__start/lock__wait__done;name=wait for lock;attr.type=arg4:" + pgLockType + ";attr.mode=arg5:" + pgLockMode + ";attr.sql=var(debug_query_string):str;attr.field1=arg0:uint;attr.field2=arg1:uint;attr.field3=arg2:uint;attr.field4=arg3:uint;reentrant=false;reset=query__start,PortalErrorCleanup();stale=failed",
			on: off, why: "very frequent on a contended server"},
	},
}
