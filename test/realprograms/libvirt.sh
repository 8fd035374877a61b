#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# libvirtd under several clients at once: each call that it serves is one phase, with
# the numbers of the program and the procedure that the client's own log has.
. "$(dirname "$0")/lib.sh"

need /usr/sbin/libvirtd "libvirt-daemon libvirt-daemon-driver-qemu"
need virsh libvirt-clients
need qemu-system-x86_64 qemu-system-x86
clients=${CLIENTS:-4} calls=${CALLS:-20}

cat >"$work/libvirtd.conf" <<EOF
unix_sock_dir = "$work/run"
auth_unix_rw = "none"
keepalive_interval = 0
log_filters = "1:qemu.qemu_monitor"
log_outputs = "1:file:$work/run/libvirtd.log"
EOF
# As an ordinary user: the daemon of the system needs users that are not made here.
mkdir "$work/run" "$work/home"
chown nobody "$work/run" "$work/home"
background setpriv --reuid=nobody --regid=nogroup --clear-groups env HOME="$work/home" XDG_RUNTIME_DIR="$work/run" \
	/usr/sbin/libvirtd -f "$work/libvirtd.conf" -p "$work/run/libvirtd.pid"
until_true 20 test -S "$work/run/libvirt-sock"
url="test+unix:///default?socket=$work/run/libvirt-sock"
until_true 20 virsh -c "$url" version

trace -p "$last"
for c in $(seq "$clients"); do
	for _ in $(seq "$calls"); do echo "list --all"; echo "dominfo test"; echo "net-list"; done |
		LIBVIRT_LOG_FILTERS="1:rpc" LIBVIRT_LOG_OUTPUTS="1:file:$work/client$c.log" virsh -c "$url" >"$work/virsh$c.out" 2>&1 &
	shells[c]=$!
done
for c in $(seq "$clients"); do wait "${shells[c]}"; done
trace_end

head_line "libvirtd, $(dpkg-query -W -f '${Version}' libvirt-daemon), $clients clients at once"
sent=$(cat "$work"/client*.log | grep -c "RPC_CLIENT_MSG_TX_QUEUE.* type=0 ")
same "calls" "$sent" "$(phases rpc '"type":0')"
cat "$work"/client*.log | sed -nE 's/.*RPC_CLIENT_MSG_TX_QUEUE.* prog=([0-9]+) .* proc=([0-9]+) type=0 .*/\1 \2/p' | sort | uniq -c |
	while read -r n program procedure; do
		printf '%s %s %s\n' "$n" "$program" "$procedure"
	done >"$work/procedures"
while read -r n program procedure; do
	same "  program $(printf '%#x' "$program"), procedure $procedure" "$n" \
		"$(phases rpc "$(printf '"program":"%#x","procedure":%d,' "$program" "$procedure")")"
done <"$work/procedures"

# A virtual machine: each command to its QEMU is one phase.
cat >"$work/domain.xml" <<EOF
<domain type="qemu"><name>empty</name><memory unit="MiB">64</memory>
<os><type arch="x86_64">hvm</type></os><devices><emulator>/usr/bin/qemu-system-x86_64</emulator></devices></domain>
EOF
machine="qemu+unix:///session?socket=$work/run/libvirt-sock"
trace -p "$last"
virsh -c "$machine" create "$work/domain.xml" >"$work/create.out"
virsh -c "$machine" suspend empty >>"$work/create.out"
virsh -c "$machine" resume empty >>"$work/create.out"
virsh -c "$machine" destroy empty >>"$work/create.out"
trace_end
head_line "libvirtd and QEMU"
for command in qmp_capabilities query-commands stop cont; do
	same "  $command" "$(grep -c "QEMU_MONITOR_SEND_MSG.*\"execute\":\"$command\"" "$work/run/libvirtd.log")" \
		"$(phases "qemu command" "\\\"execute\\\":\\\"$command\\\"")"
done
same "commands" "$(grep -c QEMU_MONITOR_SEND_MSG "$work/run/libvirtd.log")" "$(phases "qemu command")"

# The client's side.
"$phasetrace" run --gpu off -o "$work/trace.jsonl" -- env LIBVIRT_LOG_FILTERS=1:rpc "LIBVIRT_LOG_OUTPUTS=1:file:$work/own.log" \
	virsh -c "$url" list --all >"$work/own.out" 2>&1
head_line "virsh"
same "calls" "$(grep -c "RPC_CLIENT_MSG_TX_QUEUE.* type=0 " "$work/own.log")" "$(phases "rpc call" '"type":0')"
sound
