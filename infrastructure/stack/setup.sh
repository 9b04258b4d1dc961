#!/usr/bin/env bash
# The system packages of the native stack: Java 17, Maven and openssl for the servers, protoc for building Pulsar's client.
# Idempotent; says what it installs before it does. Without apt-get: install them by hand and set RVA_SKIP_PACKAGES=1.
set -euo pipefail

PACKAGES="ca-certificates python3 python3-venv openjdk-17-jre-headless maven openssl protobuf-compiler gcc libc6-dev"

say() { printf 'stack: %s\n' "$*" >&2; }

[ -n "${RVA_SKIP_PACKAGES:-}" ] && exit 0
command -v apt-get >/dev/null || {
  say "found no apt-get (a Debian or Ubuntu is wanted): install by hand what these Debian packages hold, then set RVA_SKIP_PACKAGES=1: $PACKAGES"
  exit 1
}
missing=$(for package in $PACKAGES; do
  dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || printf '%s ' "$package"
done)
[ -z "$missing" ] && exit 0
as_root=$([ "$(id -u)" = 0 ] || echo sudo)
say "installing with apt-get (about 300 MB on a bare machine): $missing"
# shellcheck disable=SC2086 # lists of words
$as_root apt-get update -q >&2
# shellcheck disable=SC2086
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing >&2
