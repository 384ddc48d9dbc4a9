#!/usr/bin/env bash
# The core's tests of counters and journals, and the extension under the tests of its mapping, with AddressSanitizer. Stable
# Rust has it behind a switch; the extension takes the runtime of the C compiler, which Python is started with.
set -euo pipefail
cd "$(dirname "$0")/.."
host=$(rustc -vV | sed -n 's/^host: //p')
runtime=$(cc -print-file-name=libasan.so)
if [ ! -e "$runtime" ]; then
  echo "sanitize: please install libasan, which comes with gcc" >&2
  exit 1
fi
# What is allocated once for the process's life, as the mapping is, is no leak.
export RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address ASAN_OPTIONS=detect_leaks=0
built=(--quiet --target "$host" --target-dir target/sanitize)
cargo test "${built[@]}" -p pixelcore --test counters --test journal
cargo build "${built[@]}" -p pixelcore-python --features pyo3/extension-module

# The package once more, with this extension in place of its own.
package=target/sanitize/python/pixelcore
rm -rf "$package"
mkdir -p "$package"
cp -r python/pixelcore/. "$package"
rm -f "$package"/_core*.so
cp target/sanitize/"$host"/debug/lib_core.so "$package/_core.abi3.so"
# Python's own allocator would hide what the sanitizer looks for.
LD_PRELOAD=$(realpath "$runtime") PYTHONMALLOC=malloc PYTHONPATH=$PWD/target/sanitize/python \
  .venv/bin/python -m pytest --quiet -p no:cacheprovider tests/test_counters.py tests/test_journal.py
