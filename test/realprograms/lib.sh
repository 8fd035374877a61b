# SPDX-License-Identifier: Apache-2.0
#
# What the scripts of this folder share. Each traces a real program while it does a
# known amount of work, with no --pair, and compares.

set -euo pipefail

phasetrace=${PHASETRACE:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/phasetrace}
work=$(mktemp -d /tmp/real-programs.XXXXXX)
chmod 755 "$work"
failed=0
started=()

# cleanup ends what the script started and removes its files.
cleanup() {
	local pid
	for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
	for pid in "${started[@]}"; do wait "$pid" 2>/dev/null || true; done
	[ -n "${KEEP:-}" ] || rm -rf "$work"
}
trap cleanup EXIT

# missing PROGRAM PACKAGE: leave, saying what to install.
need() {
	command -v "$1" >/dev/null || [ -e "$1" ] || { echo "$1 is missing: apt-get install $2" >&2; exit 3; }
}

# background COMMAND…: start it, to be ended with the script; its PID is in $last.
background() {
	"$@" >"$work/$(basename "$1").log" 2>&1 &
	last=$!
	started+=("$last")
}

# until_true SECONDS COMMAND…: wait until it succeeds.
until_true() {
	local end=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || { echo "gave up waiting for: $*" >&2; exit 1; }
		sleep 0.1
	done
}

# trace ARGUMENTS…: trace with them from now on, into $work/trace.jsonl.
trace() {
	rm -f "$work/trace.jsonl" "$work/ready"
	"$phasetrace" "$@" --gpu off --ready-file "$work/ready" -o "$work/trace.jsonl" 2>"$work/trace.err" &
	tracer=$!
	until_true 60 test -e "$work/ready"
}

# trace_end: end the trace.
trace_end() {
	kill -INT "$tracer" 2>/dev/null || true
	wait "$tracer" || true
}

# phases NAME [TEXT…]: how many phases of this name were completed in the trace, with
# all of these texts on their lines.
phases() {
	local name=$1 text lines
	shift
	lines=$(grep '"phase_exit"' "$work/trace.jsonl" | grep -F "\"name\":\"$name\"" | grep -v '"synthetic"' || true)
	for text; do lines=$(grep -F -- "$text" <<<"$lines" || true); done
	[ -n "$lines" ] || { echo 0; return; }
	wc -l <<<"$lines"
}

# same WHAT WANT GOT: print a row of the table and remember a difference.
same() {
	local mark=ok
	[ "$2" = "$3" ] || { mark=DIFFERENT failed=1; }
	printf '%-58s %10s %10s  %s\n' "$1" "$2" "$3" "$mark"
}

# head_line TITLE: the head of a table.
head_line() { printf '\n%-58s %10s %10s\n' "$1" "did" "traced"; }

# sound: no violation, nothing lost.
sound() {
	same "violations" 0 "$(grep -c '"event_type":"protocol_error"' "$work/trace.jsonl" || true)"
	same "records lost" 0 "$(grep -c '"event_type":"records_lost"' "$work/trace.jsonl" || true)"
	exit $failed
}
