#!/bin/sh
# Starts Alertmanager with the webhook whose URL stands in a file: alertmanager.sh FILE CONFIG PROGRAM [OPTION…]
# Alertmanager 0.25 reads none from a file, and its environment and arguments are seen by others; so the whole configuration is
# written to CONFIG, which only its owner reads. It names the URL in its log when nobody answers there: that passes through here
# and loses it. An empty FILE, or none, is no webhook.
set -eu
umask 077
file=$1 config=$2
shift 2
cat "$(dirname "$0")/alertmanager.yml" >"$config"
if [ -s "$file" ]; then
  url=$(cat "$file")
  printf "    webhook_configs: [{ url: '%s', send_resolved: true }]\n" "$(sed "s/'/''/g" "$file")" >>"$config"
  rm -f "$config.log"
  mkfifo "$config.log"
  while IFS= read -r line; do
    while :; do
      case $line in
        *"$url"*) line="${line%%"$url"*}(webhook)${line#*"$url"}" ;;
        *) break ;;
      esac
    done
    printf '%s\n' "$line"
  done <"$config.log" &
  exec "$@" --config.file="$config" >"$config.log" 2>&1
fi
exec "$@" --config.file="$config"
