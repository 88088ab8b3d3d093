#!/usr/bin/env bash
# Loads dwspool, PgBouncer, HAProxy (tcp mode) and a direct connection with the same work in the
# same seconds, and prints what each proxy costs: CPU per transaction and its ratio to PgBouncer,
# system calls per transaction, memory per idle client.
#
# usage: tests/bench/run.sh [--quick] [--rounds N] [--seconds N] [--only WORKLOAD[,...]]
#
# Absolute times mean nothing on a shared machine; ratios of the same seconds do.
set -euo pipefail
cd "$(dirname "$0")/../.."
deploy/install-deps.sh build bench
cmake --preset release >/dev/null
cmake --build --preset release --target dwspool >/dev/null
DWSPOOL_BINARY=$PWD/build/release/dwspool exec /usr/bin/python3 tests/bench/bench.py "$@"
