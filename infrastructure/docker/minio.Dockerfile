# MinIO and mc from their pinned Go modules: their images are gone from Docker Hub, and the community edition is source
# only. MINIO_BINARIES=prebuilt takes infrastructure/docker/prebuilt/{minio,mc}.
ARG MINIO_BINARIES=built

# https://hub.docker.com/_/golang
FROM golang:1.26-bookworm AS built
# The native stack's version (infrastructure/stack/fetch.py).
ARG MINIO_VERSION=v0.0.0-20260212201848-7aac2a2c5b7c
ARG MC_VERSION=v0.0.0-20250313080218-cf909e1063a9
# Modules whose sum isn't among those are refused.
COPY infrastructure/stack/go /sums
ENV CGO_ENABLED=0 GOFLAGS="-trimpath -buildvcs=false -mod=readonly"
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    set -e; mkdir /binaries; \
    for module in "minio@$MINIO_VERSION" "mc@$MC_VERSION"; do \
      go mod download "github.com/minio/$module"; \
      go build -C "/go/pkg/mod/github.com/minio/$module" -modfile="/sums/${module%@*}.mod" -ldflags "-s -w" \
        -o "/binaries/${module%@*}" .; \
    done

FROM scratch AS prebuilt
COPY infrastructure/docker/prebuilt/minio infrastructure/docker/prebuilt/mc /binaries/

# hadolint ignore=DL3006
FROM ${MINIO_BINARIES} AS binaries

# https://hub.docker.com/_/debian
FROM debian:bookworm-slim
RUN apt-get update -qq \
 && apt-get install -y -qq --no-install-recommends ca-certificates curl \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10002 --user-group --create-home --shell /usr/sbin/nologin minio \
 && mkdir /data && chown minio:minio /data
COPY --from=binaries --chmod=755 /binaries/minio /binaries/mc /usr/local/bin/
USER 10002
WORKDIR /home/minio
ENV MC_CONFIG_DIR=/tmp/mc
VOLUME ["/data"]
EXPOSE 9000 9001
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s CMD ["curl", "-sf", "http://localhost:9000/minio/health/live"]
ENTRYPOINT ["minio"]
CMD ["server", "/data", "--console-address", ":9001"]
