FROM node:24-slim AS build
WORKDIR /app
# --ignore-scripts: `prepare` needs the sources, and the image's own Node replaces the development dependency.
COPY package.json package-lock.json .npmrc ./
RUN npm ci --ignore-scripts
COPY tsconfig.json tsconfig.build.json ./
COPY src ./src
# Packages for the store of artifacts, if it is not the volume: docs/stores.md.
ARG SDKS=""
RUN npm run build && npm prune --omit=dev --ignore-scripts \
  && if [ -n "$SDKS" ]; then npm install --no-save --omit=dev --ignore-scripts $SDKS; fi

FROM node:24-slim
WORKDIR /app
# For a container without an external NATS. If NATS_URL is set, as in docker-compose.yml, this file is not used.
COPY --from=nats:2.15-alpine /usr/local/bin/nats-server /usr/local/bin/nats-server
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
COPY LICENSE ./
RUN install -d -o node -g node registry

# The server listens beyond loopback, so it starts only with REGISTRY_JWT_SECRET or REGISTRY_JWKS_URL.
ENV NODE_ENV=production \
    HOST=0.0.0.0 \
    PORT=8080 \
    REGISTRY_VOLUME=/app/registry \
    REGISTRY_HISTORY_FILE=/app/registry/logs/registry_activation_history.log
USER node
VOLUME ["/app/registry"]
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
  CMD ["node", "-e", \
    "fetch('http://127.0.0.1:' + process.env.PORT + '/readyz').then((r) => process.exit(r.ok ? 0 : 1))"]
CMD ["node", "dist/cli/main.js", "serve"]
