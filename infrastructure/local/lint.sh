#!/usr/bin/env bash
# Format and lint checks: Rust (with every feature that a program is built with), Dockerfiles, the compose file.
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo fmt --all --check
cargo clippy --workspace --all-targets --features rva/camera-motion --locked -- -D warnings
command -v protoc >/dev/null || infrastructure/local/setup.sh
cargo clippy -p rva-bus -p rva-detector -p rva-ingest -p rva --all-targets --locked \
  --features rva-bus/pulsar,rva-detector/pulsar,rva-ingest/pulsar,rva/pulsar,rva/camera-motion -- -D warnings
# Cargo.lock names rsa (RUSTSEC-2023-0071, no version without it) for an optional dependency that nothing enables.
crates=$(cargo tree --workspace --all-features --target all --edges all --locked --prefix none --format '{p}')
if grep -q '^rsa v' <<<"$crates"; then
  echo "lint: found rsa in a build (RUSTSEC-2023-0071), wanted none: cargo tree --invert rsa says who enables it" >&2
  exit 1
fi
[ -x .venv/bin/hadolint ] || infrastructure/local/setup.sh --tests
.venv/bin/hadolint --ignore DL3008 infrastructure/docker/Dockerfile infrastructure/docker/minio.Dockerfile
if docker compose version >/dev/null 2>&1; then
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
  infrastructure/compose/env.sh "$folder/env"
  docker compose --env-file "$folder/env" --profile flink --profile spark config --quiet
else
  echo "lint: skipped: the compose file, found no Docker Compose"
fi
