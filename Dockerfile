# Postern in a container: Node, its C libraries, the bundle and its production dependencies; no shell, no package
# manager. `scripts/image-tree.mjs` lays out the root file system, and `test/image/image.test.ts` runs it.
#
#   docker build -t postern .
#
# Pinned by exact tag. Pin it by digest in your own registry, or here:
#   docker build --build-arg NODE_IMAGE=node:24.21.0-bookworm-slim@sha256:… -t postern .
ARG NODE_IMAGE=node:24.21.0-bookworm-slim

FROM ${NODE_IMAGE} AS build
WORKDIR /src
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY . .
RUN node scripts/build.mjs && node scripts/image-tree.mjs /tree

FROM scratch
LABEL org.opencontainers.image.title="postern" \
      org.opencontainers.image.description="Sidecar authorization decision service" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /tree/ /
# `postern` is on the path for `docker exec` and `kubectl exec`.
ENV PATH=/usr/local/bin \
    NODE_ENV=production \
    POSTERN_CONFIG=/etc/postern/postern.yaml
# The embedded store and the snapshot; unix sockets. Everything else may be read-only.
VOLUME ["/var/lib/postern", "/run/postern"]
WORKDIR /opt/postern
USER 65532:65532
# Reachable where settings bind them to more than loopback.
EXPOSE 4700 4701
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --start-interval=1s --retries=3 \
  CMD ["/usr/local/bin/node", "/opt/postern/dist/postern.js", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/node", "--disable-sigusr1", "--max-semi-space-size=16", "/opt/postern/dist/postern.js"]
CMD ["serve"]
