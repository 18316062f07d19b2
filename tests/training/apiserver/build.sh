#!/bin/sh
# Build etcd, kube-apiserver and kubectl, for the tests against a real Kubernetes API, into a folder:
# build.sh [FOLDER], build/apiserver/ by default. Takes Go 1.24 or newer, its module proxy, and about
# three minutes on two cores.
set -eu
out=${1:-$(dirname "$0")/../../../build/apiserver}
mkdir -p "$out"
out=$(cd "$out" && pwd)
cd "$(dirname "$0")"
export CGO_ENABLED=0
go build -mod=mod -trimpath -buildvcs=false -ldflags='-s -w' -o "$out/etcd" go.etcd.io/etcd/server/v3
go build -mod=mod -trimpath -buildvcs=false -ldflags='-s -w' -o "$out/kube-apiserver" \
    k8s.io/kubernetes/cmd/kube-apiserver
go build -mod=mod -trimpath -buildvcs=false -ldflags='-s -w' -o "$out/kubectl" \
    k8s.io/kubernetes/cmd/kubectl
