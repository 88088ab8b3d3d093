#!/usr/bin/env bash
# Installs what is missing, builds, runs all tests.
#
# usage: tests/run.sh            everything, as CI does
#        tests/run.sh --quick    one build (dev) and its tests
set -euo pipefail
cd "$(dirname "$0")/.."

quick=no
case "${1:-}" in
  "") ;;
  --quick) quick=yes ;;
  *) sed -n '2,6s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac

started=$(date +%s)
step() { printf '\n== %s (%d s)\n' "$*" $(($(date +%s) - started)); }
jobs=$(nproc)
sources() { git ls-files 'src/*.cpp' 'src/*.h' 'include/*.h' 'tests/*.cpp' 'tests/*.h'; }

step "Packages"
deploy/install-deps.sh build demo test

# Node's driver comes from the npm registry.
export DWSPOOL_NODE_MODULES=$PWD/build/node/node_modules
if ! [ -d "$DWSPOOL_NODE_MODULES/pg" ]; then
  mkdir -p build/node
  npm install --silent --no-audit --no-fund --prefix build/node pg@8
fi

if [ $quick = yes ]; then
  step "Build and test (dev)"
  cmake --preset dev >/dev/null
  cmake --build --preset dev -j "$jobs"
  ctest --preset dev
  exit 0
fi

step "Format"
sources | xargs clang-format-14 --dry-run -Werror

# A dozen files at once are built in half of the time, and nobody looks into what is built here with
# a debugger. The release build compiles each file for itself.
together=(-DCMAKE_UNITY_BUILD=ON -DCMAKE_UNITY_BUILD_BATCH_SIZE=12
          -DCMAKE_CXX_FLAGS_DEBUG="-O1 -g1")

step "Build with g++, warnings as errors; unit tests"
cmake --preset dev "${together[@]}" -DCMAKE_CXX_FLAGS_DEBUG=-O1 >/dev/null
cmake --build --preset dev -j "$jobs"
build/dev/tests/dwspool_unit_tests --minimal

step "The simulator: 100,000 schedules"
build/dev/tests/sim/dwspool_sim --seeds 100000

step "Every public header compiles alone"
cmake --build --preset dev -j "$jobs" --target all_verify_interface_header_sets

step "Build with clang under AddressSanitizer and UBSan, warnings as errors"
cmake --preset asan "${together[@]}" -DDWSPOOL_WERROR=ON -DDWSPOOL_FUZZ=ON >/dev/null
cmake --build --preset asan -j "$jobs"

# The tests mostly wait: what needs nothing of them is done meanwhile, but only with what they leave
# of the processors (SCHED_IDLE).
aside() {
  cmake --build --preset tsan -j "$jobs" --target dwspool dwspool_unit_tests
  # That one looks on while getenv() reads what a plain store has published: nothing is torn on the
  # machines that this runs on, but the sanitizer cannot see inside the C library.
  build/tsan/tests/dwspool_unit_tests --minimal \
    --test-case-exclude="other threads may look at the environment meanwhile"
  cmake --preset release -DDWSPOOL_TESTS=OFF -DDWSPOOL_WERROR=ON >/dev/null  # for the demo, too
  cmake --build --preset release -j "$jobs" --target dwspool
  tests/lint/tidy.sh build/asan
}
export -f aside
export jobs
cmake --preset tsan "${together[@]}" >/dev/null
step "All tests, sanitized (aside: clang-tidy; two more builds; the unit tests' threads)"
chrt --idle 0 bash -euo pipefail -c aside >build/aside.log 2>&1 &
aside=$!
trap 'kill -- "$aside" 2>/dev/null || true' EXIT
ctest --preset asan

step "The rest of what was begun aside"
wait "$aside" || { tail -n 200 build/aside.log; exit 1; }
grep clang-tidy: build/aside.log

step "Threads: several workers under ThreadSanitizer"
DWSPOOL_BINARY=$PWD/build/tsan/dwspool /usr/bin/python3 -m pytest -q -p no:cacheprovider \
  tests/integration/limits_test.py tests/integration/cancel_test.py \
  tests/integration/status_page_test.py tests/integration/handover_clients_test.py

step "Fuzzers, each for a moment"
tests/fuzz/run.sh --preset asan --seconds 15

step "The demo"
deploy/demo.sh

step "Service, container, package, manifests"
tests/lint/deploy.sh
tests/lint/package.sh build/release  # that of the demo
/usr/bin/python3 tests/lint/manifests.py build/release/dwspool

step "All is well"
