# The server as a container image that stands in the place of the official nats image: docs/packages.md.
#
#     docker build -t weir .                  # as nats:alpine: a shell, wget, docker-entrypoint.sh, the weir tool
#     docker build -t weir:bare --target bare . # as nats, the one made FROM scratch: the server alone
#
# Both are root file systems that packaging/container/assemble puts together; packaging/tests runs the same ones.

# What the binaries are built with has to have the C library that assemble copies beside them.
FROM rust:1.95-bookworm AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends busybox-static ca-certificates g++ libclang-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /weir
COPY . .
# RocksDB's archive takes minutes, and is kept from one build to the next; --build-arg ROCKSDB=no leaves that backend out.
ARG ROCKSDB=yes
ENV WEIR_CACHE=/var/cache/weir
RUN --mount=type=cache,target=/var/cache/weir --mount=type=cache,target=/usr/local/cargo/registry \
    if [ "$ROCKSDB" = yes ]; then archive=$(scripts/rocksdb) && eval "$archive"; else set -- --no-default-features; fi \
    && cargo build --locked --release -p weir-broker -p weir-compaction "$@" \
    && packaging/container/assemble target/release /image/full \
    && packaging/container/assemble --bare target/release /image/bare

FROM scratch AS bare
COPY --from=build /image/bare /
ENV PATH="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/"
LABEL org.opencontainers.image.title="Weir" \
      org.opencontainers.image.description="A streaming database that speaks the NATS protocol" \
      org.opencontainers.image.licenses="Apache-2.0"
EXPOSE 4222 8222 6222
ENTRYPOINT ["/nats-server"]
CMD ["--config", "nats-server.conf"]

# The last one is what is built if nothing else is asked for.
FROM scratch AS full
COPY --from=build /image/full /
ENV PATH="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# The version of nats-server whose flags, file and answers these are; the official image has its own there.
ENV NATS_SERVER="2.15.1"
LABEL org.opencontainers.image.title="Weir" \
      org.opencontainers.image.description="A streaming database that speaks the NATS protocol" \
      org.opencontainers.image.licenses="Apache-2.0"
EXPOSE 4222 8222 6222
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["nats-server", "--config", "/etc/nats/nats-server.conf"]
