#!/usr/bin/env bash
# Puts `promtool` where test/monitoring finds it: node_modules/.cache/promtool/promtool, from the Debian package
# `prometheus`, which is unpacked and not installed, so that no server is started. Does nothing where there is one.
set -euo pipefail
cd "$(dirname "$0")/.."
target=node_modules/.cache/promtool/promtool
if command -v promtool >/dev/null || [ -x "$target" ]; then
  exit 0
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
if [ "$(id -u)" = 0 ]; then
  # The package is fetched by an account of its own, which must be able to write there.
  chmod 0777 "$scratch"
  apt-get -q update >/dev/null
fi
(cd "$scratch" && apt-get -q download prometheus >/dev/null)
dpkg-deb --extract "$scratch"/prometheus_*.deb "$scratch/tree"
mkdir -p "$(dirname "$target")"
install -m 0755 "$scratch/tree/usr/bin/promtool" "$target"
"$target" --version 2>&1 | head -n 1
