#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# CPython: each collection and each import that loads is one phase.
# ROOT is a folder to change the root to, where another release is unpacked.
. "$(dirname "$0")/lib.sh"

root=${ROOT:-}
python=$(cd "$root/" && ls usr/bin/python3.[0-9]* 2>/dev/null | grep -E '/python3\.[0-9]+$' | sort -V | tail -1) || python=usr/bin/python3
need "$root/$python" "python3-minimal libpython3-stdlib"
cat >"$work/work.py" <<'EOF'
import gc, sys
gc.disable()
print("ready", flush=True)
sys.stdin.readline()
for i in range(30):
    gc.collect(i % 3)
import colorsys, this
print("done", flush=True)
EOF
mkfifo "$work/go"
chroot "$root/" "/$python" -c "$(cat "$work/work.py")" <"$work/go" >"$work/out" 2>&1 &
last=$!
started+=("$last")
exec 3>"$work/go"
until_true 20 grep -q ready "$work/out"
trace -p "$last"
echo >&3
wait "$last"
trace_end

head_line "$(chroot "$root/" "/$python" --version)"
for generation in 0 1; do # the interpreter collects all once more as it ends
	same "collections of generation $generation" 10 "$(phases gc "\"generation\":$generation}")"
done
same "collections of generation 2, at least" yes "$([ "$(phases gc '"generation":2}')" -ge 10 ] && echo yes || echo no)"
same "imports of colorsys" 1 "$(phases import '"module":"colorsys"')"
same "imports of this" 1 "$(phases import '"module":"this"')"
sound
