#!/usr/bin/env bash
# Runs every fuzzer on its corpus and then for a while on inputs of its own, one on each core.
# usage: tests/fuzz/run.sh [--preset NAME] [--seconds N] [TARGET ...]
#   --preset: what it is built as, `fuzz` or `asan`     --seconds: for each target, 30 by default
# What is found lies in build/NAME/findings; a finding is reproduced by running the target on it.
# New inputs that reach new code are kept in build/NAME/corpus, from run to run.
set -euo pipefail
cd "$(dirname "$0")/../.."
preset=fuzz
seconds=30
while [[ "${1:-}" == --* ]]; do
  case "$1" in
    --preset) preset=$2 ;;
    --seconds) seconds=$2 ;;
    *) sed -n '2,6s/^# \{0,1\}//p' "$0"; exit 2 ;;
  esac
  shift 2
done

# What is configured already stays as it is.
grep -qs '^DWSPOOL_FUZZ:.*=ON' "build/$preset/CMakeCache.txt" ||
  cmake --preset "$preset" -DDWSPOOL_FUZZ=ON >/dev/null
cmake --build --preset "$preset" -j "$(nproc)" >/dev/null
export folder=build/$preset seconds
if [ $# -gt 0 ]; then
  targets=("$@")
else
  targets=(messages proxy_header startup sql facts scram backend_login session config tls)
fi
mkdir -p "$folder/findings"

run_one() {
  local target=$1 own=$folder/corpus/$1 seeds=tests/fuzz/corpus/$1 output
  mkdir -p "$own"
  [ -d "$seeds" ] || seeds=""
  # shellcheck disable=SC2086
  if output=$("$folder/tests/fuzz/fuzz_$target" -max_total_time="$seconds" -timeout=10 \
      -rss_limit_mb=2048 -max_len=4096 -print_final_stats=1 \
      -artifact_prefix="$folder/findings/$target-" "$own" $seeds 2>&1); then
    echo "$target: $(sed -n 's/^stat::number_of_executed_units: *//p' <<<"$output") inputs, nothing found"
  else
    tail -n 40 <<<"$output"
    return 1
  fi
}
export -f run_one
# Fails if one of them does.
printf '%s\n' "${targets[@]}" | xargs -P "$(nproc)" -I{} bash -euo pipefail -c 'run_one {}'
