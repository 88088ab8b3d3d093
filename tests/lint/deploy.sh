#!/usr/bin/env bash
# What is deployed is well formed: the systemd units (no complaint, exposure at most 2.0) and the
# Dockerfile (non-root, no credential, a health check, only files that exist).
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# The unit names the installed binary; verification wants one that exists.
sed 's#/usr/sbin/dwspool#/bin/true#' systemd/dwspool.service >"$folder/dwspool.service"
cp systemd/dwspool.socket "$folder/dwspool.socket"
said=$(systemd-analyze verify --man=no "$folder/dwspool.service" "$folder/dwspool.socket" 2>&1 \
  | grep -E 'dwspool\.(service|socket)' || true)
[ -z "$said" ] || { echo "$said" >&2; exit 1; }
level=$(systemd-analyze security --no-pager --offline=true "$folder/dwspool.service" \
  | sed -n 's/.*exposure level for [^:]*: \([0-9.]*\).*/\1/p')
echo "systemd exposure level: $level"
awk -v level="$level" 'BEGIN { exit !(level != "" && level <= 2.0) }'

# What the documents say of it.
grep -q "says $level of 10" doc/service.md || { echo "doc/service.md has another exposure" >&2; exit 1; }
for setting in 'Type=notify' 'NotifyAccess=main' 'ExecReload=/bin/kill -HUP $MAINPID' 'WatchdogSec=60s' \
  'DynamicUser=yes' 'LimitNOFILE=[0-9]*'; do
  grep -qx -- "$setting" systemd/dwspool.service || { echo "the unit lacks $setting" >&2; exit 1; }
done
stop=$(sed -n 's/^TimeoutStopSec=\([0-9]*\)s$/\1/p' systemd/dwspool.service)
drain=$(sed -n 's/^#shutdown_timeout: \([0-9]*\)s$/\1/p' config/dwspool.yaml)
[ "$stop" -gt "$drain" ] || { echo "systemd kills before shutdown_timeout is over" >&2; exit 1; }

grep -q '^USER [1-9]' Dockerfile
grep -q '^HEALTHCHECK' Dockerfile
! grep -niE 'password|secret|token' Dockerfile
grep -E '^COPY [^-]' Dockerfile | while read -r _ from _; do
  for name in $from; do [ -e "$name" ] || { echo "Dockerfile copies $name, which is not there" >&2; exit 1; }; done
done
# The packages it builds with are those that the scripts build with.
for package in $(sed -n '/^build="/,/"$/p' deploy/install-deps.sh | tr -d '"' | sed 's/^build=//'); do
  grep -qw -- "$package" Dockerfile || { echo "Dockerfile does not install $package" >&2; exit 1; }
done
echo "Dockerfile: well"
