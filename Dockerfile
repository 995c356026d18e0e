# syntax=docker/dockerfile:1.21
# The shop (target `webstore`) and its load generator (target `load`). BuildKit keeps the registry and the build folder
# between builds (cache mounts), so that a change of the sources compiles the changed crates alone; Docker 23 and later
# build with it, and Compose 1 when told: DOCKER_BUILDKIT=1 COMPOSE_DOCKER_CLI_BUILD=1.

FROM rust:1.95.0-slim-bookworm AS sources
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ libc6-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
ENV CARGO_PROFILE_RELEASE_STRIP=debuginfo
COPY . .

FROM sources AS build-webstore
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,id=palisade-webstore,target=/src/target,sharing=locked \
    cargo build --locked --release -p webstore \
    && install -D target/release/webstore /out/webstore

FROM sources AS build-load
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,id=palisade-load,target=/src/target,sharing=locked \
    cargo build --locked --release -p load \
    && install -D target/release/load /out/load

# glibc, libgcc and no more than a shell beside them.
FROM debian:12.15-slim AS runtime
RUN groupadd --gid 10001 palisade \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin palisade

FROM runtime AS load
COPY --from=build-load /out/load /usr/local/bin/load
# A volume that is mounted here first takes the folder's owner.
RUN install -d -o 10001 -g 10001 /var/lib/load
USER 10001:10001
WORKDIR /var/lib/load
ENTRYPOINT ["/usr/local/bin/load"]

FROM runtime AS webstore
COPY --from=build-webstore /out/webstore /usr/local/bin/webstore
# Whom a `rediss://` server must be vouched for by; SSL_CERT_FILE names others.
COPY --from=build-webstore /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
RUN install -d -o 10001 -g 10001 /var/log/webstore
USER 10001:10001
EXPOSE 8000 9464
HEALTHCHECK --interval=5s --timeout=5s --start-period=5s \
    CMD ["/usr/local/bin/webstore", "--health", "http://127.0.0.1:9464/readyz"]
ENTRYPOINT ["/usr/local/bin/webstore"]
CMD ["--listen", "0.0.0.0:8000", "--admin", "0.0.0.0:9464"]
