#!/usr/bin/env bash
# make env: writes .env from .env.example, and into .secrets one file for each password, key and token of docker-compose.yml, all
# made at random here. What is there already stays as it is; what is missing is added. Usage: env.sh [FILE [FOLDER]]
# Nobody but the owner can enter the folder. Its files can be read by all, since each container has a user of its own; the key
# that signs tokens is in no container.
set -euo pipefail
cd "$(dirname "$0")/../.."
target=${1:-.env} folder=${2:-./.secrets}
if ! command -v openssl >/dev/null; then
  echo "env: found no openssl, wanted it for the broker's tokens: apt-get install openssl" >&2
  exit 1
fi
umask 077
mkdir -p "$folder"
chmod 700 "$folder"

# keep NAME [MODE]: puts its standard input into a file of the folder, whole or not at all, unless it is there.
# A link, unlike a move, doesn't replace what another process wrote in the meantime.
keep() {
  local work
  [ ! -e "$folder/$1" ] || { cat >/dev/null; return; }
  work=$(mktemp "$folder/.$1.XXXXXX")
  cat >"$work"
  chmod "${2:-444}" "$work"
  ln "$work" "$folder/$1" 2>/dev/null || [ -e "$folder/$1" ]
  rm -f "$work"
}
random() { od -An -v -tx1 -N"$1" /dev/urandom | tr -d ' \n'; }
# of_env NAME: what an .env of an older version says, or the environment.
of_env() { { sed -n "s/^$1=//p" "$target" 2>/dev/null; printenv "$1"; } | sed '/^$/d' | tail -n 1; }

user=$(of_env MINIO_ROOT_USER || true) password=$(of_env MINIO_ROOT_PASSWORD || true)
echo "${user:-rva-$(random 4)}" | keep minio-root-user
echo "${password:-$(random 24)}" | keep minio-root-password
# The store's other users: ours read a bare secret, Java's programs the file of AWS's tools.
for name in ingest refine; do random 24 | sed 's/$/\n/' | keep minio-$name; done
for name in catalog trino spark; do
  printf '[default]\naws_access_key_id = rva-%s\naws_secret_access_key = %s\n' $name "$(random 24)" | keep minio-$name
done

random 24 | sed 's/$/\n/' | keep grafana-admin
# Where alerts go is yours to write into it: an empty one is nowhere.
keep alert-webhook </dev/null

# Tokens are good for one key: where that is gone, they are made anew.
[ -e "$folder/pulsar-signing.pem" ] || rm -f "$folder"/pulsar-public.der "$folder"/pulsar-token-*
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 2>/dev/null | keep pulsar-signing.pem 400
openssl pkey -in "$folder/pulsar-signing.pem" -pubout -outform DER | keep pulsar-public.der
base64url() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }
for role in admin broker detector ingest; do
  head=$(printf '{"alg":"RS256","typ":"JWT"}' | base64url).$(printf '{"sub":"%s"}' $role | base64url)
  signature=$(printf %s "$head" | openssl dgst -sha256 -sign "$folder/pulsar-signing.pem" -binary | base64url)
  echo "$head.$signature" | keep pulsar-token-$role
done
# What the broker and the ZooKeeper of the same process say to each other.
word=$(random 24)
keep pulsar-zookeeper.jaas <<EOF
Server { org.apache.zookeeper.server.auth.DigestLoginModule required user_pulsar="$word"; };
Client { org.apache.zookeeper.server.auth.DigestLoginModule required username="pulsar" password="$word"; };
EOF

if [ ! -e "$target" ]; then
  work=$(mktemp "$target.XXXXXX")
  trap 'rm -f "$work"' EXIT
  sed "s|^RVA_SECRETS=\$|&$folder|" .env.example >"$work"
  ln "$work" "$target"
  echo "env: wrote $target and the secrets in $folder; next: docker compose up -d --build" >&2
elif ! grep -q '^RVA_SECRETS=.' "$target"; then
  sed -i '/^RVA_SECRETS=$/d' "$target"
  printf '\nRVA_SECRETS=%s\n' "$folder" >>"$target"
  echo "env: found $target, added RVA_SECRETS; MINIO_ROOT_USER and MINIO_ROOT_PASSWORD are files of $folder now, take them out" >&2
else
  echo "env: found $target, left it as it is; what was missing in $folder is there" >&2
fi
