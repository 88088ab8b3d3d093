#!/bin/sh
# Builds the simulator and runs it: run.sh [--seeds N] [--seed S] [...], see dwspool_sim --help.
set -eu
cd "$(dirname "$0")/../.."
cmake --preset release -DDWSPOOL_TESTS=ON >/dev/null
cmake --build --preset release --target dwspool_sim >/dev/null
exec build/release/tests/sim/dwspool_sim "$@"
