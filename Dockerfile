# dwspool as a container: built on Debian 12, run as nobody in particular, without any credential.
#
#   docker build -t dwspool .
#   docker run --read-only --cap-drop=ALL --security-opt=no-new-privileges \
#     -v ./dwspool.yaml:/etc/dwspool/dwspool.yaml:ro -p 6432:6432 -p 9187:9187 dwspool
#
# The configuration is a mount; ${VARIABLES} in it come from the environment. Listen on "*:6432",
# and for the health check on `http: "*:9187"`.

FROM debian:bookworm-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends \
      g++ cmake ninja-build pkg-config libuv1-dev libyaml-cpp-dev libspdlog-dev \
      prometheus-cpp-dev libcivetweb-dev libssl-dev libpq-dev libidn-dev \
      libpg-query-dev libxxhash-dev zlib1g-dev \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY CMakeLists.txt CMakePresets.json ./
COPY cmake cmake
COPY include include
COPY src src
RUN cmake --preset release -DDWSPOOL_TESTS=OFF \
 && cmake --build --preset release --target dwspool \
 && strip build/release/dwspool

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends \
      libuv1 libyaml-cpp0.7 libspdlog1.10 libprometheus-cpp-core1.0 libcivetweb1 libssl3 libpq5 \
      libidn12 libpg-query1504.0 ca-certificates curl \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 65432 --no-create-home --shell /usr/sbin/nologin dwspool
COPY --from=build /src/build/release/dwspool /usr/sbin/dwspool
COPY config/dwspool.yaml /usr/share/dwspool/dwspool.yaml.example
COPY config/dwspool.schema.json /usr/share/dwspool/
USER 65432:65432
EXPOSE 6432 9187
# SIGTERM, which is what a container is stopped with, ends clients at their transaction boundary.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 \
  CMD ["curl", "-fsS", "-o", "/dev/null", "http://127.0.0.1:9187/healthz"]
ENTRYPOINT ["/usr/sbin/dwspool", "--config", "/etc/dwspool/dwspool.yaml"]
