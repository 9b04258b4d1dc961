#!/usr/bin/env bash
# make test-compose: runs the unmodified docker-compose.yml as a project of its own, tries from inside each container what
# it may and mayn't, kills each service, cuts the ingest's network, takes all down and up again, and compares the keys that
# Trino reads. Our programs are built outside and copied into the images (RVA_BINARIES=prebuilt); the servers' images must
# be there or to be had. KEEP=1 leaves the project up until the next run.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=infrastructure/local/environment.sh
. infrastructure/local/environment.sh

if ! docker compose version >/dev/null 2>&1 || ! docker info >/dev/null 2>&1; then
  echo "skipped: no Docker engine with Compose"
  exit 0
fi
infrastructure/stack/setup.sh
if [ "$(. /etc/os-release && echo "$VERSION_CODENAME")" = bookworm ]; then
  export RVA_BINARIES=prebuilt
  prebuilt=infrastructure/docker/prebuilt
  mkdir -p $prebuilt
  folders=$(python3 infrastructure/stack/stack.py fetch minio mc)
  for folder in $folders; do cp "$folder"/* $prebuilt/; done
  # As `make test` builds them: another form would be ten minutes of compiling.
  cargo test --locked --workspace --features "$FEATURES" --no-run
  for program in rva-detector rva-ingest rva-refine; do strip -o "$prebuilt/$program" "$TARGET_DIR/debug/$program"; done
else
  # Programs of this machine may want a newer libc than the images have.
  export RVA_BINARIES=built
fi
# Secrets of this run, which go before those of an .env.
own=$(mktemp -d)
[ -n "${KEEP:-}" ] || trap 'rm -rf "$own"' EXIT
infrastructure/compose/env.sh "$own/env" "$own/secrets"
export RVA_SECRETS=$own/secrets
# A webhook that nobody answers, with a word in its URL that must be seen nowhere.
rm "$own/secrets/alert-webhook"
printf 'http://127.0.0.1:9/%s\n' "$(openssl rand -hex 24)" >"$own/secrets/alert-webhook"
chmod 444 "$own/secrets/alert-webhook"
docker compose config --quiet
docker compose --profile flink --profile spark --profile dashboards config --quiet
docker compose build --quiet
python3 infrastructure/compose/test.py
