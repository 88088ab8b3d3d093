#!/usr/bin/env bash
# clang-tidy over the product, several files at a time.
# usage: tidy.sh BUILD_FOLDER [FILE ...]     (a folder with compile_commands.json, made by clang)
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=$1
shift
if [ $# -gt 0 ]; then files=("$@"); else mapfile -t files < <(git ls-files 'src/*.cpp'); fi
printf '%s\n' "${files[@]}" | xargs -P "$(nproc)" -n 4 clang-tidy-14 --quiet -p "$folder" 2> >(grep -vE 'warnings? (generated|treated)|^Suppressed|^Use -header-filter' >&2)
