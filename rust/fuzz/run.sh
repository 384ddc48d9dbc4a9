#!/usr/bin/env bash
# Fuzz each target for so many seconds (60), two at a time, starting from the corpus. Findings are in target/fuzz. A crash ends with
# 1, and names the file to add to the corpus, which makes it a test.
#
# With --merge, nothing is fuzzed. From the findings and the corpus's files with names of libFuzzer, the corpus gets the fewest and
# smallest files with the same coverage. Files with other names stay.
set -euo pipefail
cd "$(dirname "$0")/../.."
mode=fuzz
if [ "${1:-}" = --merge ]; then
  mode=merge
  shift
fi
seconds=${1:-60}
host=$(rustc -vV | sed -n 's/^host: //p')
# The flags of cargo-fuzz, without the sanitizers, which stable Rust lacks.
flags="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters"
flags+=" -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"
flags+=" -Ccodegen-units=1 -Cdebug-assertions=on -Coverflow-checks=on --cfg fuzzing"
# With an explicit target, the flags do not apply to build scripts.
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

merge() {
  local target=$1 found="target/fuzz/corpus/$1" kept="rust/fuzz/corpus/$1" log="target/fuzz/$1-merge.log"
  mkdir -p "$found"
  for file in "$kept"/*; do
    if [[ ${file##*/} =~ ^[0-9a-f]{40}$ ]]; then mv "$file" "$found"; fi
  done
  # By edges alone: how often each is taken would be some five times as many files.
  target/fuzz/"$host"/release/"$target" -set_cover_merge=1 -use_counters=0 -max_len=1024 -timeout=10 -rss_limit_mb=2048 \
    "$kept" "$found" >"$log" 2>&1 || { tail -40 "$log"; return 1; }
  echo "merge $target: $(find "$kept" -type f | wc -l) files, $(cat "$kept"/* | wc -c) bytes"
}

targets=(query request headers proxies protect journal)
if [ "$mode" = merge ]; then
  for target in "${targets[@]}"; do merge "$target"; done
  exit
fi

rm -f target/fuzz/failed
for target in "${targets[@]}"; do
  # Two at a time.
  while [ "$(jobs -pr | wc -l)" -ge 2 ]; do wait -n || true; done
  { fuzz "$target" || touch target/fuzz/failed; } &
done
wait
[ ! -e target/fuzz/failed ]
