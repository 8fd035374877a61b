#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Builds release archives into a folder: both architectures, each with GPU
# support (needs a C compiler for it) and static without. Reproducible: the same
# commit and Go version give the same bytes.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-dist}
version=${VERSION:-$(git describe --tags --always --dirty 2>/dev/null || echo devel)}
epoch=$(git log -1 --format=%ct 2>/dev/null || echo 0)

rm -rf "$out"
mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# One archive: ARCH CGO CC NAME
archive() {
	local arch=$1 cgo=$2 cc=$3 name=phasetrace-$version-linux-$1$4
	local dir=$work/$name
	mkdir -p "$dir"
	CGO_ENABLED=$cgo CC=$cc GOOS=linux GOARCH=$arch go build -trimpath -buildvcs=false \
		-ldflags "-s -w -buildid= -X main.release=$version" -o "$dir/phasetrace" ./cmd/phasetrace
	cp -r LICENSE README.md "$work/share/completions" "$work/share/man" "$dir"
	mkdir -p "$dir/include"
	cp markers/c/phasetrace.h "$dir/include"
	tar --sort=name --mtime="@$epoch" --owner=0 --group=0 --numeric-owner -C "$work" -cf - "$name" | gzip -9n >"$out/$name.tar.gz"
	echo "$name.tar.gz"
}

mkdir -p "$work/share"
go run -tags mkdocs ./cmd/phasetrace "$work/share" "$version" "$epoch"

for arch in amd64 arm64; do
	archive "$arch" 0 "" -static
	case $arch in
	"$(go env GOHOSTARCH)") cc=${CC:-cc} ;;
	arm64) cc=aarch64-linux-gnu-gcc ;;
	amd64) cc=x86_64-linux-gnu-gcc ;;
	esac
	if command -v "$cc" >/dev/null; then
		archive "$arch" 1 "$cc" ""
	else
		echo "phasetrace-$version-linux-$arch with GPU support: left out, no $cc (apt-get install gcc-${cc%-gcc})" >&2
	fi
done
(cd "$out" && sha256sum ./*.tar.gz >SHA256SUMS)
