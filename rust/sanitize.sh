#!/usr/bin/env bash
# Runs the core's tests of counters and journals, and the tests of the extension's mapping, with AddressSanitizer. Stable Rust has
# it behind a switch. The extension uses the C compiler's runtime, with which Python is started.
#
# With --planted, it runs a copy in which both use freed memory. A sanitizer that does not report this fails here.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
host=$(rustc -vV | sed -n 's/^host: //p')
runtime=$(cc -print-file-name=libasan.so)
if [ ! -e "$runtime" ]; then
  echo "sanitize: please install libasan, which comes with gcc" >&2
  exit 1
fi
# What is allocated once for the process's life, as the mapping is, is no leak.
export RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address ASAN_OPTIONS=detect_leaks=0
built=(--quiet --target "$host" --target-dir "$root/target/sanitize")

core() {
  cargo test "${built[@]}" -p pixelcore "$@"
}

extension() {
  cargo build "${built[@]}" -p pixelcore-python --features pyo3/extension-module
  # The package once more, with this extension in place of its own.
  local package=$root/target/sanitize/python/pixelcore
  rm -rf "$package"
  mkdir -p "$package"
  cp -r "$root"/python/pixelcore/. "$package"
  rm -f "$package"/_core*.so
  cp "$root/target/sanitize/$host/debug/lib_core.so" "$package/_core.abi3.so"
  # Python's own allocator would hide what the sanitizer looks for, and pytest's capture what it says.
  LD_PRELOAD=$(realpath "$runtime") PYTHONMALLOC=malloc PYTHONPATH=${package%/*} \
    "$root/.venv/bin/python" -m pytest --quiet --capture=sys -p no:cacheprovider --rootdir "$root" -c "$root/pyproject.toml" "$@"
}

reported() {
  local log=$root/target/sanitize/planted.log
  if "$@" >"$log" 2>&1 || ! grep -q 'ERROR: AddressSanitizer: heap-use-after-free' "$log"; then
    tail -40 "$log" >&2
    echo "sanitize: the fault that was planted for '$1' is not reported" >&2
    exit 1
  fi
}

if [ "${1:-}" != --planted ]; then
  core --test counters --test journal
  extension "$root"/tests/quick/test_counters.py "$root"/tests/journal/test_journal.py
  exit
fi

copy=$root/target/sanitize/planted
rm -rf "$copy"
mkdir -p "$copy"
cp -r Cargo.toml Cargo.lock rust "$copy"
cat >"$copy/rust/core/tests/planted.rs" <<'RUST'
#[test]
fn reads_what_is_freed() {
    let freed = std::hint::black_box(vec![1_u8; 8].as_ptr());
    println!("{}", unsafe { freed.read_volatile() });
}
RUST
# Where the mapping begins, something that is freed at the end of the line.
sed -i 's/= mapping.as_mut_ptr().wrapping_add(offset);/= vec![0_u64; count].as_mut_ptr().cast::<u8>();/' \
  "$copy/rust/python/src/counters.rs"
cd "$copy"
reported core --test planted
reported extension "$root/tests/quick/test_counters.py"
echo "sanitize: what was planted is reported"
