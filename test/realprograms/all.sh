#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Runs every script of this folder, or the named ones, and says at the end which
# found a difference and which could not run.
set -u
cd "$(dirname "$0")"
scripts=("$@")
[ $# -gt 0 ] || scripts=(java php-fpm postgresql python sssd stap libvirt)
bad=()
for name in "${scripts[@]}"; do
	bash "./$name.sh"
	case $? in
	0) ;;
	3) bad+=("$name (could not run)") ;;
	*) bad+=("$name") ;;
	esac
done
echo
if [ ${#bad[@]} -gt 0 ]; then
	printf 'not as it should be: %s\n' "${bad[@]}"
	exit 1
fi
echo "all ${#scripts[@]} programs: every request of the work was one phase"
