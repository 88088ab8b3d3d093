#!/usr/bin/env bash
# clang-tidy over the product, on all cores: what .clang-tidy selects, each finding once.
# usage: tidy.sh BUILD_FOLDER [FILE ...]     BUILD_FOLDER: configured by `cmake --preset clang`
#
# Without a FILE: all of them. If BUILD_FOLDER was configured with -DCMAKE_UNITY_BUILD=ON, a dozen
# are looked at together, which takes a quarter of the time; the static analyzer then does not look
# as deep into what a function calls.
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=${1:?usage: tidy.sh BUILD_FOLDER [FILE ...]}
shift
if ! [ -f "$folder/compile_commands.json" ]; then
  echo "$folder has no compile_commands.json: cmake --preset clang" >&2
  exit 2
fi
together=()
if [ $# -gt 0 ]; then
  files=("$@")
else
  if grep -q /Unity/ "$folder/compile_commands.json"; then
    together=(--checks=-bugprone-suspicious-include)
    # The analyzer takes a file that is included for a header.
    for option in -analyzer-opt-analyze-headers -analyzer-config mode=shallow; do
      together+=(--extra-arg=-Xclang "--extra-arg=$option")
    done
  fi
  mapfile -t files < <(sed -n 's/^ *"file": "\(.*\)",\{0,1\}$/\1/p' "$folder/compile_commands.json" |
    grep -E '/CMakeFiles/dwspool_[a-z]+\.dir/Unity/|/src/' | grep -v "$folder/tests/" | sort)
fi

# A header is looked at with every file that includes it, and found wrong as often.
printf '%s\n' "${files[@]}" |
  xargs -P "$(nproc)" -n 1 clang-tidy-14 --quiet -p "$folder" \
    "${together[@]}" \
    2> >(grep -vE 'warnings? (generated|treated)|^Suppressed|^Use -header-filter' >&2) |
  awk '/: (warning|error): .*\]$/ { new = !seen[$0]++ } new'
echo "clang-tidy: ${#files[@]} files, nothing to say, $SECONDS s"
