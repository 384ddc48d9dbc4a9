#!/bin/sh
# Builds Kubernetes' control plane and kubectl into .deploy/kubernetes: some ten minutes on two cores, once.
set -eu
cd "$(dirname "$0")/../.."
go=$(sh tests/go.sh "${1:?usage: kubernetes.sh PIP}" 1.26.0)
minor=37.2
kept=$PWD/.deploy/kubernetes
mkdir -p "$kept"
export GOTOOLCHAIN=local GOWORK=off CGO_ENABLED=0
source=$(cd / && "$go" mod download -json "k8s.io/kubernetes@v1.$minor" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
# It replaces its modules by folders that the proxy's copy lacks. The proxy has each as a module of the same name.
sed "s|=> ./staging/src/\(.*\)|=> \1 v0.$minor|" "$source/go.mod" >"$kept/go.mod"
cp --no-preserve=mode "$source/go.sum" "$kept/go.sum"
cd "$source"
"$go" build -mod=mod -modfile="$kept/go.mod" -trimpath -o "$kept/" \
    -ldflags "-s -w -X k8s.io/component-base/version.gitVersion=v1.$minor" \
    ./cmd/kube-apiserver ./cmd/kube-controller-manager ./cmd/kube-scheduler ./cmd/kubectl
