#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# A JVM: each collection of its own log is one phase.
# ROOT is a folder to change the root to, where another release is unpacked.
. "$(dirname "$0")/lib.sh"

root=${ROOT:-}
java=$(cd "$root/" && ls usr/lib/jvm/java-*-openjdk-*/bin/java 2>/dev/null | sort -V | tail -1) || java=usr/bin/java
need "$root/$java" openjdk-17-jdk-headless
home=/tmp/real-programs-java.$$
mkdir "$root$home"
cat >"$root$home/Work.java" <<'EOF'
public class Work {
	static Object keep;
	public static void main(String[] args) throws Exception {
		System.out.println("ready");
		System.in.read();
		for (int i = 0; i < 500; i++) {
			byte[][] garbage = new byte[64][];
			for (int j = 0; j < 64; j++) garbage[j] = new byte[4096];
			keep = garbage;
		}
		for (int i = 0; i < 3; i++) System.gc();
		System.out.println("done");
	}
}
EOF
mkfifo "$work/go"
chroot "$root/" "/$java" -Xmx32m -XX:+UseSerialGC "-Xlog:gc:file=$home/gc.log" "$home/Work.java" <"$work/go" >"$work/out" 2>&1 &
vm=$!
started+=("$vm")
exec 3>"$work/go"
until_true 60 grep -q ready "$work/out"
before=$(grep -c ' Pause ' "$root$home/gc.log" || true)
trace -p "$vm"
echo >&3
wait "$vm"
trace_end
log=$(tail -n +$((before + 1)) <(grep ' Pause ' "$root$home/gc.log"))

head_line "$(chroot "$root/" "/$java" -version 2>&1 | sed -n 2p)"
same "collections" "$(grep -c . <<<"$log")" "$(phases gc)"
same "  full ones" "$(grep -c 'Pause Full' <<<"$log")" "$(phases gc '"full":1')"
rm -rf "$root$home"
sound
