#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# PostgreSQL: each statement of psql is one query with its text, and its parts.
# ROOT is a folder to change the root to, where another release is unpacked.
. "$(dirname "$0")/lib.sh"

root=${ROOT:-}
bin=$(cd "$root/" && ls -d usr/lib/postgresql/*/bin 2>/dev/null | tail -1) || bin=usr/lib/postgresql/15/bin
need "$root/$bin/initdb" postgresql
queries=${QUERIES:-200}
# The server does not run as root.
as_postgres() { chroot "$root/" setpriv --reuid=postgres --regid=postgres --clear-groups env LC_ALL=C "$@"; }
home=/tmp/real-programs-data.$$
mkdir "$root$home"
chroot "$root/" chown postgres "$home"
as_postgres "/$bin/initdb" -D "$home/data" -A trust >"$work/initdb.log" 2>&1
background chroot "$root/" setpriv --reuid=postgres --regid=postgres --clear-groups env LC_ALL=C \
	"/$bin/postgres" -D "$home/data" -k "$home" -c listen_addresses= -c autovacuum=off -c checkpoint_timeout=1h
until_true 20 test -s "$root$home/data/postmaster.pid"
sql() { as_postgres "/$bin/psql" -X -q -h "$home" -d postgres "$@"; }
until_true 20 sql -c 'select 1'
sql -c 'create table t (n int, s text)'

for n in $(seq "$queries"); do
	echo "insert into t values ($n, 'row $n');"
	echo "select count(*) from t where n = $n;"
done >"$work/statements.sql"
echo "select 1/0;" >>"$work/statements.sql" # fails: no done marker fires
echo "begin; update t set s = 'x' where n = 1; rollback;" >>"$work/statements.sql"

trace -f -p "$last"
sql <"$work/statements.sql" >"$work/answers" 2>"$work/errors"
sql -c checkpoint
trace_end
kill -INT "$last"
wait "$last" || true
rm -rf "$root$home"

head_line "$(chroot "$root/" "/$bin/postgres" --version)"
same "inserts" "$queries" "$(phases query '"sql":"insert into t')"
same "selects" "$queries" "$(phases query '"sql":"select count')"
same "other statements: begin, update, rollback, checkpoint" 4 "$(($(phases query) - 2 * queries))"
same "the statement that failed is closed by phasetrace" 1 \
	"$(grep '"phase_exit"' "$work/trace.jsonl" | grep '"sql":"select 1/0' | grep -c '"synthetic"' || true)"
same "executions, all but that of the failed one" $((2 * queries + 4)) "$(phases execute '"path":["query","execute"]')"
# Beside the statements' own: one of begin to rollback, and one as each of two
# connections begins.
same "transactions" $((2 * queries + 5)) "$(phases transaction '"lxid"')"
same "checkpoints" 1 "$(phases checkpoint)"
sound
