# The image of operator, worker and migrations, and the stage `worker` as the base of images with agents.
#
#   docker build -t agentjobs:dev .
#   docker build -t agentjobs-worker:dev --target worker .
#   make image                      # both, and the Postgres for trying things out, from wheels that it downloads first
#
# Each file that pip installs is checked by its hash in locks/. If there is a folder wheels/, pip takes it from there instead of
# an index: such a build needs no network.
# By digest: the same base each time. How to take a newer one: docs/security.md.
ARG BASE_IMAGE=python:3.11-slim-bookworm@sha256:0bee7276f83efd4a1ee05bbbf4281d95ed28e079220a9457f25a93e3f1e3c31b

FROM ${BASE_IMAGE} AS build
WORKDIR /src
# COPY fails where nothing matches: LICENSE always does, wheels/ need not be there
COPY LICENSE wheel[s] /wheels/
COPY locks locks
RUN set -eu; \
    if ls /wheels/*.whl >/dev/null 2>&1; then printf '[install]\nno-index = true\nfind-links = /wheels\n' > /etc/pip.conf; fi; \
    install() { env="$1"; shift; python3 -m pip --python "$env/bin/python" install --no-cache-dir --disable-pip-version-check \
      --no-compile --no-deps --only-binary=:all: --require-hashes "$@"; }; \
    python3 -m venv --without-pip /opt/agentjobs; install /opt/agentjobs -r locks/image.txt; \
    python3 -m venv --without-pip /opt/build; install /opt/build -r locks/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY operator operator
# Compiled now, since a pod's root is read-only; checked by content, so that two builds of one commit give the same files.
RUN set -eu; \
    /opt/build/bin/python -m hatchling build --target wheel --directory /dist; \
    python3 -m pip --python /opt/agentjobs/bin/python install --no-cache-dir --disable-pip-version-check \
      --no-compile --no-deps --no-index /dist/*.whl; \
    find /opt/agentjobs -type d \( -name tests -o -name test \) -path '*/site-packages/*' -prune -exec rm -rf {} +; \
    /opt/agentjobs/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/agentjobs/lib

FROM ${BASE_IMAGE} AS runtime
ARG BASE_IMAGE
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="agentjobs" \
      org.opencontainers.image.description="Durable background runs of AI agents on Kubernetes: operator, worker, migrations" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE_IMAGE}"
# some programs want a user's name; Kubernetes checks the number
RUN getent passwd 10001 >/dev/null || useradd --uid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin agentjobs
COPY --from=build /opt/agentjobs /opt/agentjobs
ENV PATH=/opt/agentjobs/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /tmp
STOPSIGNAL SIGTERM
ENTRYPOINT ["agentjobs"]
CMD ["--help"]

# For example: FROM agentjobs-worker, then COPY my_agent /agents/my_agent. `pip install` installs beside agentjobs.
FROM runtime AS worker
LABEL org.opencontainers.image.title="agentjobs-worker"
ENV AGENTJOBS_PATH=/agents \
    PIP_PYTHON=/opt/agentjobs/bin/python \
    PIP_NO_CACHE_DIR=1
WORKDIR /agents
CMD ["worker"]

# the last stage is what `docker build .` makes
FROM runtime AS agentjobs
