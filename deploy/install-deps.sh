#!/usr/bin/env bash
# Installs the Debian packages that a step needs, if they are missing.
# usage: install-deps.sh build|demo|test|bench ...
set -euo pipefail

build="g++ cmake ninja-build pkg-config libuv1-dev libyaml-cpp-dev libspdlog-dev
  prometheus-cpp-dev libcivetweb-dev libssl-dev libpq-dev libidn-dev
  libpg-query-dev libxxhash-dev zlib1g-dev"
demo="postgresql-15 postgresql-client-15 python3 python3-psycopg2 curl"
test="clang-14 clang-format-14 clang-tidy-14 libclang-rt-14-dev doctest-dev git curl procps
  postgresql-15 postgresql-client-15 python3 python3-pytest python3-yaml python3-jsonschema
  python3-psycopg2 python3-psycopg python3-asyncpg python3-sqlalchemy python3-django pgbouncer
  libpostgresql-jdbc-java prometheus prometheus-pgbouncer-exporter systemd dpkg-dev lintian man-db
  debootstrap
  bsdextrautils docker-compose python3-kubernetes chromium"
bench="postgresql-15 postgresql-client-15 python3 python3-psycopg2 pgbouncer haproxy linux-perf
  procps valgrind"

wanted=""
for step in "$@"; do
  case "$step" in
    build | demo | test | bench) wanted="$wanted ${!step}" ;;
    *) echo "usage: install-deps.sh build|demo|test|bench ..." >&2; exit 2 ;;
  esac
done

missing=""
for package in $wanted; do
  dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed \
    || missing="$missing $package"
done
# These two may be there by other means than Debian's packages.
case " $* " in
  *" test "*)
    command -v java >/dev/null || missing="$missing default-jdk-headless"
    command -v javac >/dev/null || missing="$missing default-jdk-headless"
    command -v node >/dev/null || missing="$missing nodejs"
    command -v npm >/dev/null || missing="$missing npm"
    ;;
esac
[ -n "$missing" ] || exit 0

echo "installing:$missing"
run=""
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "run this as root, or install:$missing" >&2; exit 1; }
  run=sudo
fi
export DEBIAN_FRONTEND=noninteractive
# The servers under test are started by the tests; none shall start by itself.
if ! [ -e /etc/postgresql-common/createcluster.conf ]; then
  $run mkdir -p /etc/postgresql-common/createcluster.d
  echo "create_main_cluster = false" \
    | $run tee /etc/postgresql-common/createcluster.d/dwspool.conf >/dev/null
fi
$run apt-get update -qq
# shellcheck disable=SC2086
$run apt-get install -y -qq --no-install-recommends $missing >/dev/null
