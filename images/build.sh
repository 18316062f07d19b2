#!/usr/bin/env bash
# Builds the images: build.sh [components] [control] [registry], all without a name. Each becomes
# localhost/penstock/<name>:<version>, and build/<name>.cdx.json its bill of materials.
#   BUILDER   buildah, podman or docker; without it the first that is there
#   BASE      the image to build on, or a folder with the root of one; without it the Containerfile's,
#             or where no registry gives that, a Debian 13 made by debootstrap (as root)
#   REGISTRY  what stands before the name, localhost/penstock without it
#   TAG       what stands after it, the version without it
#   GPU=1     components with CUDA, as components:<version>-gpu
#   FRESH=1   every layer anew, also where nothing changed
#   SOURCE_DATE_EPOCH  the date of every file and image, 2 January 1980 without it: a date that never
#             changes keeps the layers of unchanged things the same
set -euo pipefail
cd "$(dirname "$0")/.."
version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' __init__.py)
debian=localhost/penstock/debian:13
# Of all kinds the one that also works inside a container.
export BUILDAH_ISOLATION=${BUILDAH_ISOLATION:-chroot}

fail() { echo "make images: $1" >&2; exit 1; }

choose_builder() {
    builder=${BUILDER:-}
    case $builder in
    '') for builder in buildah podman docker ''; do ! command -v "$builder" >/dev/null || break; done ;;
    buildah | podman | docker) command -v "$builder" >/dev/null || fail "BUILDER is $builder, which is not installed." ;;
    *) fail "BUILDER is $builder, and can be buildah, podman or docker." ;;
    esac
    [ -n "$builder" ] || fail "neither buildah, podman nor docker is installed (Debian and Ubuntu: apt install buildah)."
}

exists() { # image
    case $builder in
    buildah) buildah inspect --type image "$1" >/dev/null 2>&1 ;;
    *) "$builder" image inspect "$1" >/dev/null 2>&1 ;;
    esac
}

import_root() { # folder, image
    ! exists "$2" || return 0
    case $builder in
    buildah)
        local container
        container=$(buildah from scratch)
        buildah add --quiet "$container" "$1" / >/dev/null
        buildah commit --quiet --rm "$container" "$2" >/dev/null
        ;;
    *) tar --create --directory "$1" . | "$builder" import - "$2" >/dev/null ;;
    esac
}

choose_base() {
    base=${BASE:-}
    if [ -d "$base" ]; then
        local name
        name=$debian-$(stat --format %Y "$base")
        import_root "$base" "$name"
        base=$name
    elif [ -z "$base" ]; then
        base=$(sed -n 's/^ARG BASE=//p' images/Containerfile)
        if ! exists "$base" && ! "$builder" pull --quiet "$base" >/dev/null 2>&1; then
            echo "make images: no registry gave $base, so the base is a Debian 13 made by debootstrap."
            base=$debian
            if ! exists "$debian"; then
                work=$(mktemp -d)
                trap 'rm -rf --one-file-system "$work"' EXIT
                images/base.sh "$work/root"
                import_root "$work/root" "$debian"
            fi
        fi
    fi
}

# Where the sources come from: the commit, and the address without what a password may stand in.
describe_source() {
    local commit address
    commit=$(git rev-parse HEAD 2>/dev/null) || return 0
    [ -z "$(git status --porcelain)" ] || commit+=-dirty
    origin+=(--build-arg "REVISION=$commit")
    address=$(git config remote.origin.url | sed -nE 's#^(https?://)([^/@]*@)?#\1#p') || true
    [ -z "$address" ] || origin+=(--build-arg "SOURCE=$address")
}

build_image() { # name
    local name=$1 step=true tag=${TAG:-$version} image options
    case $name in
    components) [ "${GPU:-}" != 1 ] || { name=components-gpu; tag+=-gpu; } ;;
    control | registry) step=false ;;
    *) fail "there is no image $name, only components, control and registry." ;;
    esac
    image=${REGISTRY:-localhost/penstock}/$1:$tag
    options=(--quiet --file images/Containerfile --tag "$image" --build-arg "BASE=$base" --build-arg "NAME=$name"
        --build-arg "IMAGE=$image" --build-arg "STEP=$step" --build-arg "VERSION=$version" "${origin[@]}")
    [ "${FRESH:-}" != 1 ] || options+=(--no-cache)
    local date=${SOURCE_DATE_EPOCH:-315619200}
    case $builder in
    docker) options+=(--build-arg "SOURCE_DATE_EPOCH=$date") ;;
    *)
        options+=(--layers --timestamp "$date" --identity-label=false)
        # This machine's certificates: used while building, not part of the image.
        [ ! -d /etc/ssl/certs ] || options+=(--volume /etc/ssl/certs:/etc/ssl/certs:ro)
        ;;
    esac
    "$builder" build "${options[@]}" . >/dev/null
    mkdir -p build
    read_file "$image" /opt/penstock/bom.cdx.json >"build/$name.cdx.json"
    echo "make images: $image, its bill of materials build/$name.cdx.json"
}

read_file() { # image, path in it
    local container
    case $builder in
    buildah)
        container=$(buildah from --pull-never "$1")
        buildah run "$container" -- cat "$2"
        buildah rm "$container" >/dev/null
        ;;
    *)
        container=$("$builder" create "$1" true)
        "$builder" cp "$container:$2" - | tar --extract --to-stdout
        "$builder" rm "$container" >/dev/null
        ;;
    esac
}

origin=()
choose_builder
choose_base
describe_source
[ $# != 0 ] || set -- components control registry
for name in "$@"; do build_image "$name"; done
