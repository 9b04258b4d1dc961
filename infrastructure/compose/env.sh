#!/usr/bin/env bash
# make env: writes .env (or the file that is named) from .env.example, with random passwords, readable by its owner alone.
# A file that is there stays as it is: it may hold what somebody chose.
set -euo pipefail
cd "$(dirname "$0")/../.."
target=${1:-.env}
if [ -e "$target" ]; then
  echo "env: found $target, left it as it is" >&2
  exit 0
fi

random() { od -An -v -tx1 -N"$1" /dev/urandom | tr -d ' \n'; }

umask 077
work=$(mktemp "$target.XXXXXX")
trap 'rm -f "$work"' EXIT
user=rva-$(random 4) password=$(random 24)
sed -e "s/^MINIO_ROOT_USER=\$/&$user/" -e "s/^MINIO_ROOT_PASSWORD=\$/&$password/" .env.example >"$work"
# A link, unlike a move, doesn't replace what another process wrote in the meantime.
ln "$work" "$target"
echo "env: wrote $target with passwords of its own; next: docker compose up -d --build" >&2
