#!/usr/bin/env bash
# Runs every fuzzer on its corpus and then for a while on inputs of its own.
# usage: tests/fuzz/run.sh [--seconds N] [TARGET ...]      (30 seconds each by default)
# What is found lies in build/fuzz/findings; a finding is reproduced by running the target on it.
# New inputs that reach new code are kept in build/fuzz/corpus, from run to run.
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=30
if [ "${1:-}" = --seconds ]; then seconds=$2; shift 2; fi

cmake --preset fuzz >/dev/null
cmake --build --preset fuzz -j "$(nproc)" >/dev/null
if [ $# -gt 0 ]; then targets=("$@"); else targets=(messages proxy_header startup sql facts scram backend_login session config); fi
mkdir -p build/fuzz/findings
failed=0
for target in "${targets[@]}"; do
  own=build/fuzz/corpus/$target
  mkdir -p "$own"
  seeds=tests/fuzz/corpus/$target
  [ -d "$seeds" ] || seeds=""
  # shellcheck disable=SC2086
  if output=$("build/fuzz/tests/fuzz/fuzz_$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
      -max_len=4096 -print_final_stats=1 -artifact_prefix="build/fuzz/findings/$target-" "$own" $seeds 2>&1); then
    echo "$target: $(sed -n 's/^stat::number_of_executed_units: *//p' <<<"$output") inputs, nothing found"
  else
    tail -n 40 <<<"$output"
    failed=1
  fi
done
exit $failed
