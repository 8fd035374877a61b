#!/bin/busybox sh
# SPDX-License-Identifier: Apache-2.0
#
# The guest's first process: makes the machine look like a small Linux system,
# runs the tests of /pt/plan and switches the machine off. What it prints is read
# by results.go: lines that start with @@ are its own, everything between
# "@@begin" and "@@end" is a test binary's output.

# The kernel's first root cannot be pivoted away from, which tests of containers
# do. A bind mount of it can.
if [ "$1" != moved ]; then
	/bin/busybox mkdir -p /root
	/bin/busybox mount --bind / /root
	cd /root || exit
	/bin/busybox mount --move . /
	exec /bin/busybox chroot . /init moved
fi

export PATH=/bin:/sbin:/usr/bin:/usr/sbin:/pt HOME=/root TMPDIR=/tmp
/bin/busybox mkdir -p /proc /sys /dev /tmp /run /root /sbin /usr/bin /usr/sbin /var/tmp
/bin/busybox --install -s
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
for at in /tmp /run /dev/shm /var/tmp; do mount -t tmpfs -o mode=1777 tmpfs "$at"; done
mount -t debugfs debugfs /sys/kernel/debug
mount -t tracefs tracefs /sys/kernel/tracing
mount -t securityfs securityfs /sys/kernel/security
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ip link set lo up
hostname guest
ln -s /proc/self/fd /dev/fd
for module in /pt/modules/*; do
	case $module in
	*.xz) unxz "$module" && insmod "${module%.xz}" ;;
	*.ko) insmod "$module" ;;
	esac
done

# Kernel messages go to the log alone, so that they cannot split a test's lines.
# A panic prints all the same.
echo 1 >/proc/sys/kernel/printk

read -r up _ </proc/uptime
echo "@@boot $(uname -r) $up"

report() {
	echo "@@log-begin"
	# A busy host makes an emulated processor late; that is no fault of what ran here.
	dmesg | grep -E 'WARNING: CPU|BUG: |Oops|general protection fault' | grep -v 'soft lockup'
	echo "@@log-end"
	echo "@@done"
	poweroff -f
}

# One program instead of the tests.
if [ -x /pt/exec/run ]; then
	echo "@@begin exec"
	cd /pt/exec && ./run </dev/null 2>&1
	code=$?
	echo
	read -r up _ </proc/uptime
	echo "@@end exec $code $up"
	report
fi

echo "@@begin doctor"
phasetrace doctor --json </dev/null 2>&1
code=$?
read -r up _ </proc/uptime
echo "@@end doctor $code $up"

. /pt/env
while read -r id dir run vars <&3; do
	[ "$run" = - ] && run=$TEST_RUN
	echo
	echo "@@begin $id"
	cd "$dir" || continue
	# The list of variables is split into words on purpose.
	# shellcheck disable=SC2086
	env $vars ./package.test -test.v=test2json -test.short -test.timeout="$TEST_TIMEOUT" -test.run="$run" </dev/null 2>&1
	code=$?
	echo
	read -r up _ </proc/uptime
	echo "@@end $id $code $up"
done 3</pt/plan

report
