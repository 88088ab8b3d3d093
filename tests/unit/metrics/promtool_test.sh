#!/bin/sh
# Prometheus' own linter must find nothing to say about the exposition.
# usage: promtool_test.sh UNIT_TEST_BINARY; 77 (skipped) without promtool
set -eu

command -v promtool >/dev/null || { echo "promtool is not installed: skipped" >&2; exit 77; }
file=$(mktemp)
trap 'rm -f "$file"' EXIT

DWSPOOL_EXPOSITION_FILE=$file "$1" --test-case='*DWSPOOL_EXPOSITION_FILE*' >/dev/null
test -s "$file" || { echo "$1 has written no exposition" >&2; exit 1; }
said=$(promtool check metrics <"$file" 2>&1) || { echo "$said" >&2; exit 1; }
test -z "$said" || { echo "$said" >&2; exit 1; }
