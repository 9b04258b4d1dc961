#!/usr/bin/env bash
# make torture: KILLS (default 1000) times kill -9 of the real ingest at random moments and at every step of the commit.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=infrastructure/local/environment.sh
. infrastructure/local/environment.sh
RVA_KILLS=${KILLS:-1000} cargo test --locked -p rva-ingest --test kill -- --nocapture --test-threads 1
