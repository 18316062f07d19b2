#!/usr/bin/env bash
# Makes a Debian 13 root with Python, and OpenMP for LightGBM, in a folder: base.sh FOLDER. For machines that reach a Debian
# mirror (MIRROR=, else debootstrap's own choice) and no image registry, and for the continuous
# integration. It takes root and debootstrap.
set -euo pipefail
[ $# = 1 ] || { echo "usage: images/base.sh FOLDER" >&2; exit 2; }
root=$1

[ ! -e "$root" ] || { echo "images/base.sh: $root exists already; name a new folder." >&2; exit 1; }
[ "$(id -u)" = 0 ] || { echo "images/base.sh: debootstrap takes root; run it as root." >&2; exit 1; }
command -v debootstrap >/dev/null ||
    { echo "images/base.sh: debootstrap is not installed (Debian and Ubuntu: apt install debootstrap)." >&2; exit 1; }

mkdir -p "$(dirname "$root")"
partial=$(mktemp -d "$root.XXXXXX")
trap 'rm -rf --one-file-system "$partial"' EXIT
debootstrap --variant=minbase --include=ca-certificates,libgomp1,python3,python3-venv trixie "$partial" ${MIRROR:+"$MIRROR"} >"$partial.log" 2>&1 ||
    { tail -n 20 "$partial.log" >&2; echo "images/base.sh: debootstrap failed; the whole log is in $partial.log." >&2; exit 1; }
rm -rf "$partial"/var/cache/apt/archives/*.deb "$partial"/var/lib/apt/lists/*
chmod 755 "$partial"
mv "$partial" "$root"
rm "$partial.log"
