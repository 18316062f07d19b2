#!/usr/bin/env bash
# Builds the image of the components with buildah: localhost/penstock/components:<version>.
#   BASE  the image to build on, or a folder with the root of one; without it the Containerfile's, or
#         where no registry gives that, a Debian 13 made by debootstrap (as root)
#   TAG   another name for the result
set -euo pipefail
cd "$(dirname "$0")/.."
version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' __init__.py)
tag=${TAG:-localhost/penstock/components:$version}
base=${BASE:-}
debian=localhost/penstock/debian:13

command -v buildah >/dev/null ||
    { echo "make image: buildah is not installed (Debian and Ubuntu: apt install buildah)." >&2; exit 1; }

import_root() { # folder, name
    ! buildah inspect --type image "$2" >/dev/null 2>&1 || return 0
    local container
    container=$(buildah from scratch)
    buildah add --quiet "$container" "$1" / >/dev/null
    buildah commit --quiet --rm "$container" "$2" >/dev/null
}

if [ -z "$base" ]; then
    base=$(sed -n 's/^ARG BASE=//p' images/components/Containerfile)
    if ! buildah pull --quiet "$base" >/dev/null 2>&1; then
        echo "make image: no registry gave $base, so the base is a Debian 13 made by debootstrap."
        base=$debian
        if ! buildah inspect --type image "$debian" >/dev/null 2>&1; then
            work=$(mktemp -d)
            trap 'rm -rf --one-file-system "$work"' EXIT
            images/base.sh "$work/root"
            import_root "$work/root" "$debian"
        fi
    fi
elif [ -d "$base" ]; then
    name=$debian-$(stat --format %Y "$base")
    import_root "$base" "$name"
    base=$name
fi

options=(--quiet --isolation chroot --layers --build-arg "BASE=$base" --build-arg "IMAGE=$tag" --file images/components/Containerfile --tag "$tag")
# This machine's certificates: used while building, not part of the image.
[ ! -d /etc/ssl/certs ] || options+=(--volume /etc/ssl/certs:/etc/ssl/certs:ro)
buildah build "${options[@]}" . >/dev/null
echo "make image: $tag"
