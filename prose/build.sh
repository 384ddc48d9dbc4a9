#!/bin/sh
# Builds Vale, which `make prose` runs, into target/tools/bin. Vale needs a C compiler and Go.
set -eu
cd "$(dirname "$0")/.."
go=$(sh tests/go.sh "${1:?usage: prose/build.sh PIP}" 1.25.7)
# Not optimised: its grammars of program code are most of what is compiled, and pages of prose need none of them.
GOBIN=$PWD/target/tools/bin GOTOOLCHAIN=local CGO_CFLAGS=-O0 "$go" install github.com/vale-cli/vale/v3/cmd/vale@v3.22.0
touch target/tools/bin/vale
