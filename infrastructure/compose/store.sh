#!/bin/sh
# Makes the bucket, and in the store a user for each service that needs one, with the rights of policies/NAME.json. Can be
# repeated: a secret or a right that changed is taken over. mc reads keys from its standard input, since every user of a
# machine sees the arguments of every process.
set -eu
cat /run/secrets/minio-root-user /run/secrets/minio-root-password | mc alias set store http://minio:9000
mc mb --ignore-existing store/warehouse
for name in ingest refine catalog trino spark; do
  # The secret alone, or the last line of a file of AWS's tools.
  secret=$(sed -n '$s/^.* = //; $p' "/run/secrets/minio-$name")
  mc admin policy create store "rva-$name" "/opt/rva/policies/$name.json"
  printf '%s\n' "rva-$name" "$secret" | mc admin user add store
  mc admin policy attach store "rva-$name" --user "rva-$name"
done
