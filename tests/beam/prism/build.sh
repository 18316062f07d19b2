#!/bin/sh
# Build Prism, Beam's portable runner, for the tests of Beam engines, into a folder:
# build.sh [FOLDER], build/beam/ by default. Takes Go 1.26 or newer, its module proxy, and about two
# minutes on two cores.
set -eu
out=${1:-$(dirname "$0")/../../../build/beam}
mkdir -p "$out"
out=$(cd "$out" && pwd)
cd "$(dirname "$0")"
export CGO_ENABLED=0
go build -mod=mod -trimpath -buildvcs=false -ldflags='-s -w' -o "$out/prism" \
    github.com/apache/beam/sdks/v2/go/cmd/prism
