#!/usr/bin/env bash
# Builds the Debian package and looks into it: what is in it, what lintian says, whether it can be
# installed into an empty root, and whether the binary in there works.
# usage: tests/lint/package.sh BUILD_FOLDER [--clean-root]
#   BUILD_FOLDER: of any preset; the binary is built if it is not there.
#   --clean-root: as root, besides: into a Debian that debootstrap has just made, by apt, with nothing
#     but what the package depends on. Some minutes, and some hundred megabytes from the mirror.
set -euo pipefail
cd "$(dirname "$0")/../.."
build=$(realpath "${1:?usage: package.sh BUILD_FOLDER}")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
fail() { echo "$*" >&2; exit 1; }

(cd "$build" && cpack -G DEB -B "$folder/out" >"$folder/log" 2>&1) || { cat "$folder/log" >&2; exit 1; }
package=$(ls "$folder"/out/*.deb)
echo "$(basename "$package"): $(stat -c %s "$package") bytes"

# What is in it.
root=$folder/root
dpkg-deb -x "$package" "$root"
dpkg-deb -e "$package" "$folder/control"
for file in usr/sbin/dwspool usr/lib/systemd/system/dwspool.service usr/lib/systemd/system/dwspool.socket \
  etc/dwspool/dwspool.yaml usr/share/dwspool/dwspool.schema.json usr/share/man/man1/dwspool.1.gz \
  usr/share/man/man5/dwspool.yaml.5.gz usr/share/doc/dwspool/doc/service.md \
  usr/share/doc/dwspool/examples/prometheus/dwspool-alerts.yml; do
  [ -f "$root/$file" ] || fail "the package lacks $file"
done
grep -qx /etc/dwspool/dwspool.yaml "$folder/control/conffiles" || fail "the configuration is no conffile"
for library in libuv1 libyaml-cpp libssl3 libpq5 libcivetweb1; do
  grep -q "^Depends:.*$library" "$folder/control/control" || fail "it does not depend on $library"
done
[ -z "$(find "$root" -perm /022 -not -type l)" ] || fail "some of it can be written by anybody"
for script in postinst prerm postrm; do sh -n "$folder/control/$script"; done

# What lintian says. There are no licence to copy and no address to write to yet; systemctl is what
# tells the running dwspool to hand over; the rest depends on the preset.
suppressed=no-copyright-file,bogus-mail-host,bogus-mail-host-in-debian-changelog,root-in-contact
suppressed+=,maintainer-script-calls-systemctl,unstripped-binary-or-object,hardening-no-fortify-functions
said=$(lintian --no-tag-display-limit --fail-on none --suppress-tags "$suppressed" "$package" 2>/dev/null \
  | grep '^[EW]:' || true)
[ -z "$said" ] || fail "lintian: $said"

# The manual pages are well formed, and the one of the configuration has every key.
for page in man1/dwspool.1 man5/dwspool.yaml.5; do
  said=$(LC_ALL=C.UTF-8 man --warnings -E UTF-8 -l -Tutf8 "$root/usr/share/man/$page.gz" 2>&1 >"$folder/page")
  [ -z "$said" ] || fail "$page: $said"
  [ "$(wc -l <"$folder/page")" -gt 20 ] || fail "$page is short"
done
col -b <"$folder/page" | sed 's/^ *//' >"$folder/plain"
grep -oE '^#? *[a-z_]+:( |$)' config/dwspool.yaml | grep -oE '[a-z_]+' | sort -u | while read -r key; do
  grep -q -- "$key" "$folder/plain" || fail "dwspool.yaml(5) lacks $key"
done

# It can be installed where nothing is, and the binary of the package runs.
clean=$folder/clean
mkdir -p "$clean/var/lib/dpkg/info" "$clean/var/lib/dpkg/updates"
touch "$clean/var/lib/dpkg/status" "$clean/var/lib/dpkg/available"
dpkg --root="$clean" --force-depends --force-not-root --force-script-chrootless --log="$folder/dpkg.log" \
  --unpack "$package" >/dev/null 2>"$folder/said" || { cat "$folder/said" >&2; exit 1; }
"$clean/usr/sbin/dwspool" --version
"$clean/usr/sbin/dwspool" --config "$clean/etc/dwspool/dwspool.yaml.dpkg-new" --test-config >/dev/null \
  || fail "the configuration of the package is bad"
dpkg --root="$clean" --force-script-chrootless --force-not-root --log="$folder/dpkg.log" --purge dwspool >/dev/null 2>&1 \
  || fail "it cannot be removed"
[ ! -e "$clean/usr/sbin/dwspool" ] || fail "the binary is left behind"

# The same where everything that it needs has to come by its dependencies.
if [ "${2:-}" = --clean-root ]; then
  debian=$folder/debian
  debootstrap --variant=minbase bookworm "$debian" >"$folder/log" 2>&1 || { tail -n 5 "$folder/log" >&2; exit 1; }
  cp "$package" "$debian/tmp/dwspool.deb"
  within() { chroot "$debian" env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 "$@"; }
  within apt-get install -y -qq --no-install-recommends /tmp/dwspool.deb >"$folder/log" 2>&1 \
    || { tail -n 5 "$folder/log" >&2; fail "apt does not install it"; }
  within /usr/sbin/dwspool --version
  within /usr/sbin/dwspool --config /etc/dwspool/dwspool.yaml --test-config >/dev/null || fail "it does not run there"
  echo "# mine" >>"$debian/etc/dwspool/dwspool.yaml"
  within dpkg -i /tmp/dwspool.deb >"$folder/log" 2>&1 </dev/null || fail "it cannot be installed again"
  grep -qx "# mine" "$debian/etc/dwspool/dwspool.yaml" || fail "an upgrade has changed the configuration"
  within apt-get purge -y -qq dwspool >"$folder/log" 2>&1 || fail "it cannot be removed"
  [ ! -e "$debian/etc/dwspool/dwspool.yaml" ] || fail "a purge leaves the configuration behind"
  echo "clean root: well"
fi
echo "package: well"
