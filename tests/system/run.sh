#!/usr/bin/env bash
# The container and the service as they are in the end: builds the image of the Dockerfile with
# buildah and runs it with crun; boots a Debian with systemd by systemd-nspawn, installs the package
# there and works with the unit. Needs root, Debian's mirror and some gigabytes below build/system.
#
# usage: tests/system/run.sh BUILD_FOLDER [--only container|systemd] [pytest's arguments ...]
#   BUILD_FOLDER: of any preset; what the package is made of.
set -euo pipefail
cd "$(dirname "$0")/../.."
build=$(realpath "${1:?usage: tests/system/run.sh BUILD_FOLDER [--only container|systemd]}")
shift
only=all
if [ "${1:-}" = --only ]; then only=$2; shift 2; fi
[ "$(id -u)" -eq 0 ] || { echo "this takes root: namespaces, mounts, debootstrap" >&2; exit 2; }

missing=""
for package in buildah crun systemd-container debootstrap; do
  dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed \
    || missing="$missing $package"
done
if [ -n "$missing" ]; then
  # shellcheck disable=SC2086
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi

work=$PWD/build/system
mkdir -p "$work"
step() { printf '\n== %s\n' "$*"; }

# The base image comes from the mirror: no registry is asked.
if ! [ -e "$work/debian.done" ]; then
  step "A Debian by debootstrap"
  rm -rf "$work/debian"
  debootstrap --variant=minbase bookworm "$work/debian" >"$work/debootstrap.log" 2>&1 \
    || { tail -n 5 "$work/debootstrap.log" >&2; exit 1; }
  touch "$work/debian.done"
fi

tests=()
if [ "$only" != systemd ]; then
  step "The image of the Dockerfile"
  store=(--root "$work/images" --runroot "$work/images.run" --storage-driver vfs)
  export DWSPOOL_IMAGE_STORE="${store[*]}"
  if ! buildah "${store[@]}" inspect --type image docker.io/library/debian:bookworm-slim >/dev/null 2>&1; then
    container=$(buildah "${store[@]}" from scratch)
    buildah "${store[@]}" add -q "$container" "$work/debian" / >/dev/null
    buildah "${store[@]}" commit -q --rm "$container" docker.io/library/debian:bookworm-slim >/dev/null
  fi
  buildah "${store[@]}" bud --format docker --isolation chroot --pull-never -t localhost/dwspool:test . \
    >"$work/image.log" 2>&1 || { tail -n 20 "$work/image.log" >&2; exit 1; }
  tests+=(tests/system/container_test.py)
fi
if [ "$only" != container ]; then
  step "A Debian with systemd and the package"
  rm -rf "$work/package"
  (cd "$build" && cpack -G DEB -B "$work/package" >"$work/package.log" 2>&1) \
    || { cat "$work/package.log" >&2; exit 1; }
  rm -rf "$work/service"
  cp -a "$work/debian" "$work/service"
  cp "$work"/package/dwspool_*.deb "$work/service/opt/dwspool.deb"
  chroot "$work/service" env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 sh -c '
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends systemd systemd-sysv dbus procps /opt/dwspool.deb' \
    >"$work/service.log" 2>&1 || { tail -n 5 "$work/service.log" >&2; exit 1; }
  export DWSPOOL_SERVICE_ROOT=$work/service
  tests+=(tests/system/systemd_test.py)
fi
step "Tests"
exec /usr/bin/python3 -m pytest -q -p no:cacheprovider "$@" "${tests[@]}"
