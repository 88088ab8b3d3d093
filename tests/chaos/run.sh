#!/usr/bin/env bash
# Clients write a ledger through a real dwspool while servers, connections and dwspool itself are
# broken; then a checker compares what they were told with what the tables hold. Exit status 1 if
# there is a violation.
#
# usage: tests/chaos/run.sh [--seconds 60] [--faults all|none|NAME,...] [--clients N]
#                           [--mode auto|transaction|session] [--workers N]
#                           [--replay off|connect|statement|transaction|token] [--seed N] [--keep]
#
# DWSPOOL_PRESET chooses the build, release by default. doc/testing.md explains the rest.
set -euo pipefail
cd "$(dirname "$0")/../.."
preset=${DWSPOOL_PRESET:-release}
cmake --preset "$preset" >/dev/null
cmake --build --preset "$preset" --target dwspool dwspool_chaos_client >/dev/null
export DWSPOOL_BINARY=$PWD/build/$preset/dwspool
export DWSPOOL_CHAOS_CLIENT=$PWD/build/$preset/tests/chaos/dwspool_chaos_client
export PYTHONDONTWRITEBYTECODE=1
exec /usr/bin/python3 tests/chaos/main.py "$@"
