#!/usr/bin/env bash
# make soak: eight file cameras and two RTSP cameras in one process for half an hour; one server is killed, one stalled.
set -euo pipefail
cd "$(dirname "$0")/../.."
infrastructure/local/setup.sh --tests
# shellcheck source=infrastructure/local/environment.sh
. infrastructure/local/environment.sh
cargo build --locked -p rva --bin rva
exec "$RVA_PYTHON" infrastructure/local/soak.py --rva "$TARGET_DIR/debug/rva" --seconds "${SOAK_SECONDS:-1800}" "$@"
