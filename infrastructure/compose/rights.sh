#!/bin/bash
# Lets the detector's role send to the topic and the ingest's role read it, and nothing else. Can be repeated: what a role may
# is set, not added to. The token goes to curl through its standard input, since everybody sees the arguments of a process.
set -euo pipefail
topic=${PULSAR_TOPIC/:\/\//\/}
grant() { # ROLE ACTION
  printf 'header = "Authorization: Bearer %s"\n' "$(<"$PULSAR_TOKEN_FILE")" |
    curl -sS --fail-with-body -K - -X POST -H 'content-type: application/json' -d "[\"$2\"]" \
      "$PULSAR_ADMIN_URL/admin/v2/$topic/permissions/$1"
  echo "rights: $1 may $2 on $PULSAR_TOPIC, and nothing else"
}
grant detector produce
grant ingest consume
