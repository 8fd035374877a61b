#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Runs "make test" as an ordinary user that is made for it, on a clone of what
# is committed. For root. The module cache is lent, because root's home is
# closed to others; everything else the user makes itself.
set -euo pipefail
cd "$(dirname "$0")/.."
[ "$(id -u)" = 0 ] || { echo "test-as-user: only root can become another user; run make test" >&2; exit 1; }
# sudo leaves out where Go is installed, some users' PATH where useradd is.
export PATH="$PATH:/usr/sbin:/usr/local/go/bin"
command -v go >/dev/null || { echo "test-as-user: go is not in PATH: sudo env PATH=\"\$PATH\" tools/test-as-user.sh" >&2; exit 1; }

user=phasetrace-test
export dir
dir=$(mktemp -d /var/tmp/phasetrace-user.XXXXXX)
cleanup() {
	rm -rf "$dir"
	userdel "$user"
}
useradd --system --shell /bin/bash --home-dir "$dir" "$user"
trap cleanup EXIT

git clone -q --no-hardlinks . "$dir/src"
mkdir "$dir/modules"
chown -R "$user:" "$dir"
export modules user
modules=$(go env GOMODCACHE)
# In a mount namespace: the lent cache is gone with the last process.
unshare --mount bash -euc '
	mount --bind -o ro "$modules" "$dir/modules"
	cd "$dir/src"
	exec runuser -u "$user" -- env -i PATH="$PATH" HOME="$dir" GOMODCACHE="$dir/modules" GOFLAGS=-buildvcs=false GOPROXY=off make test'
