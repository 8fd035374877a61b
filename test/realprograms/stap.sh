#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# SystemTap: each pass that it reports is one phase, and takes as long as it says.
. "$(dirname "$0")/lib.sh"

need stap systemtap
build=$(ls -d /lib/modules/*/build 2>/dev/null | tail -1)
[ -n "$build" ] || { echo "no kernel headers: apt-get install linux-headers-cloud-amd64" >&2; exit 3; }
release=$(basename "$(dirname "$build")")

head_line "SystemTap, $(dpkg-query -W -f '${Version}' systemtap)"
for upto in 3 3 3 4; do # pass 4 compiles a module, whether or not that succeeds
	"$phasetrace" run --gpu off -o "$work/trace.jsonl" -- \
		stap -r "$release" -v -p$upto --disable-cache -e 'probe begin { exit() }' >"$work/stap.out" 2>&1 || true
	for pass in 1 2 3 4; do
		said=$(sed -nE "s/^Pass $pass: .* in .*\/([0-9]+)real ms.*/\1/p" "$work/stap.out" | head -1)
		if [ -z "$said" ]; then continue; fi
		same "stap -p$upto: pass $pass" 1 "$(phases "pass $pass")"
		took=$(grep '"phase_exit"' "$work/trace.jsonl" | grep -F "\"name\":\"pass $pass\"" | grep -oE '"duration_ns":[0-9]+' | cut -d: -f2)
		off=$((took / 1000000 - said))
		# stap reads its clock a little before and after its markers, in whole ms
		same "  took ${said} ms by its own clock, within 20 ms" yes "$([ ${off#-} -le 20 ] && echo yes || echo "$off ms off")"
	done
done
same "commands of stap -p4, each with its text" "$(phases command '"command":"')" "$(phases command)"
sound
