#!/usr/bin/env bash
# Format and lint checks: Rust (with every feature that a program is built with), Dockerfiles, the compose file.
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo fmt --all --check
cargo clippy --workspace --all-targets --features rva/camera-motion --locked -- -D warnings
if command -v protoc >/dev/null; then
  cargo clippy -p rva-bus -p rva-detector -p rva-ingest -p rva --all-targets --locked \
    --features rva-bus/pulsar,rva-detector/pulsar,rva-ingest/pulsar,rva/pulsar,rva/camera-motion -- -D warnings
else
  echo "lint: skipped: Pulsar's client, found no protoc"
fi
[ -x .venv/bin/hadolint ] || infrastructure/local/setup.sh --tests
.venv/bin/hadolint --ignore DL3008 infrastructure/docker/Dockerfile infrastructure/docker/minio.Dockerfile
if docker compose version >/dev/null 2>&1; then
  docker compose --profile flink --profile spark config --quiet
else
  echo "lint: skipped: the compose file, found no Docker Compose"
fi
