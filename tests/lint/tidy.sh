#!/usr/bin/env bash
# clang-tidy over the product, on all cores: what .clang-tidy selects, each finding once.
# usage: tidy.sh BUILD_FOLDER [FILE ...]     BUILD_FOLDER: configured by `cmake --preset clang`
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=${1:?usage: tidy.sh BUILD_FOLDER [FILE ...]}
shift
if ! [ -f "$folder/compile_commands.json" ]; then
  echo "$folder has no compile_commands.json: cmake --preset clang" >&2
  exit 2
fi
if [ $# -gt 0 ]; then files=("$@"); else mapfile -t files < <(git ls-files 'src/*.cpp'); fi

# A header is looked at with every file that includes it, and found wrong as often.
printf '%s\n' "${files[@]}" |
  xargs -P "$(nproc)" -n 2 clang-tidy-14 --quiet -p "$folder" \
    2> >(grep -vE 'warnings? (generated|treated)|^Suppressed|^Use -header-filter' >&2) |
  awk '/: (warning|error): .*\]$/ { new = !seen[$0]++ } new'
echo "clang-tidy: ${#files[@]} files, nothing to say, $SECONDS s"
