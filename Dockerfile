# The images of Shellgate: `docker build --target task .` and `docker build --target gateway .`, with
# BuildKit. `make image` builds both and runs them as they are run in production.

# What the images are made from. Pin each with its digest: BASE_IMAGE=debian:trixie-slim@sha256:…
# Any Debian will do whose C library is not older than the one that the programs were linked to.
ARG BASE_IMAGE=debian:trixie-slim
ARG RUST_IMAGE=rust:1.95-trixie
# Where Shellgate's own programs come from: `compiled` here, from these sources; or `prebuilt` in
# target/image/programs, where `make image` puts them. The stage that is not asked for is not built.
ARG PROGRAMS=compiled

FROM ${RUST_IMAGE} AS compiled
WORKDIR /shellgate
COPY . .
# Without Node the build leaves out the page and says so; an image without it would say nothing.
RUN sh scripts/build.sh /programs && test -e web/dist/index.html

FROM scratch AS prebuilt
COPY target/image/programs /programs

FROM ${PROGRAMS} AS programs


FROM ${BASE_IMAGE} AS userland
# What a person or an agent at a shell reaches for, on top of Debian's essential packages. Every task
# pulls all of it: `make image` holds it to its budget. Name others to make an image of your own.
ARG TASK_PACKAGES="ca-certificates curl file git jq less nano patch procps python3 ripgrep unzip xz-utils"
COPY packaging/image/userland.sh /
RUN sh /userland.sh ${TASK_PACKAGES} && rm /userland.sh

# From nothing, because what one layer removes another still carries.
FROM scratch AS task
COPY --from=userland / /
COPY LICENSE /usr/share/doc/shellgate/copyright
COPY --from=programs /programs/shellgate-bridge /usr/local/bin/
ENV PATH=/home/agent/.local/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    LANG=C.UTF-8 \
    HOME=/home/agent \
    SHELLGATE_HOME=/home/agent \
    SHELLGATE_SECRETS_DIR=/run/secrets
# Without a user of its own a task is `agent`, and these three are all that it may write: its root can
# be read-only. A task that has a uid mounts them, and what it does not mount it cannot write (but /tmp).
USER 1000:1000
WORKDIR /home/agent
VOLUME ["/tmp", "/run/secrets", "/home/agent"]
# As pid 1: no other process can signal it, and an init of the same uid would show its environment.
ENTRYPOINT ["/usr/local/bin/shellgate-bridge"]


FROM ${BASE_IMAGE} AS gateway-root
COPY packaging/image/gateway-root.sh packaging/image/gateway.toml LICENSE /
COPY --from=programs /programs /programs
RUN sh /gateway-root.sh /gateway

FROM scratch AS gateway
COPY --from=gateway-root /gateway /
ENV PATH=/usr/local/bin
USER 900:900
VOLUME ["/var/lib/shellgate"]
# Clients; operators (no authentication: publish it to nobody else); tasks; other gateways, and nobody else.
EXPOSE 7800 7801 7802 7803
ENTRYPOINT ["/usr/local/bin/shellgate-gateway"]
CMD ["serve", "--config", "/etc/shellgate/gateway.toml"]
