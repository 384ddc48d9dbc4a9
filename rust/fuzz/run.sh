#!/usr/bin/env bash
# Fuzz each target for so many seconds (60), two at a time, from the corpus. What is found is in target/fuzz; a crash ends
# with 1 and names the file to put into the corpus, which makes it a test.
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-60}
host=$(rustc -vV | sed -n 's/^host: //p')
# What cargo-fuzz sets, but for the sanitizers, which stable Rust does not have.
flags="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters"
flags+=" -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"
flags+=" -Ccodegen-units=1 -Cdebug-assertions=on -Coverflow-checks=on --cfg fuzzing"
# With a target of its own the flags are not for build scripts.
RUSTFLAGS="$flags" cargo build --quiet --release --config 'profile.release.lto=false' -p pixelcore-fuzz --features fuzzer \
  --target "$host" --target-dir target/fuzz

fuzz() {
  local target=$1 found="target/fuzz/corpus/$1" log="target/fuzz/$1.log"
  mkdir -p "$found"
  if target/fuzz/"$host"/release/"$target" -max_total_time="$seconds" -max_len=4096 -timeout=10 -rss_limit_mb=2048 \
    -dict=rust/fuzz/dictionary.txt -artifact_prefix="target/fuzz/$target-" "$found" "rust/fuzz/corpus/$target" >"$log" 2>&1
  then
    echo "fuzz $target: $(grep -a '^Done' "$log"), coverage $(grep -ao 'cov: [0-9]*' "$log" | tail -1)"
  else
    tail -40 "$log"
    echo "fuzz $target: failed; put the file that is named above into rust/fuzz/corpus/$target"
    return 1
  fi
}

fuzz query & query=$!
fuzz request & request=$!
failed=0
wait "$query" || failed=1
fuzz journal || failed=1
wait "$request" || failed=1
exit "$failed"
