# Turnout as a container: a venv, its configuration, and nothing that needs a shell. See README.md, "In a container".
# Every step is a command in exec form, and tests/packaging runs them in a folder of its own. No engine has built it yet.
#
# The tag names Python and Debian, so that rebuilding picks up security fixes; for the same bytes every time:
#   docker build --build-arg BASE=python:3.11-slim-bookworm@sha256:… .
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
# Packages first: they change less often than Turnout does. What builds the wheel stays in this stage.
COPY requirements.txt config/container/requirements-build.txt ./
RUN ["python", "-m", "venv", "--without-pip", "/opt/turnout"]
RUN ["python", "-m", "pip", "--python", "/opt/turnout/bin/python", "install", \
     "--no-compile", "--only-binary", ":all:", "--require-hashes", "-r", "requirements.txt"]
RUN ["python", "-m", "pip", "install", "--require-hashes", "-r", "requirements-build.txt"]
COPY pyproject.toml README.md LICENSE ./
COPY proxy ./proxy
RUN ["python", "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", "/wheels", "."]
RUN ["python", "-m", "pip", "--python", "/opt/turnout/bin/python", "install", \
     "--no-compile", "--no-deps", "--no-index", "--find-links", "/wheels", "turnout"]
# Nobody can write bytecode later: the root file system is read-only. Unchecked: nothing changes there, so nothing is looked at.
RUN ["python", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "/opt/turnout/lib"]

FROM ${BASE}
LABEL org.opencontainers.image.title="Turnout" \
      org.opencontainers.image.description="Moves live traffic from an old version of a service to a new one, and back in an instant" \
      org.opencontainers.image.licenses="Apache-2.0"
# The image of Python comes without bytecode of its standard library, and `turnout healthcheck` runs every few seconds.
RUN ["python", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", \
     "-x", "/(site-packages|test|idlelib|lib2to3|turtledemo|ensurepip)/", "/usr/local/lib/python3.11"]
RUN ["install", "-d", "-m", "0750", "-o", "65532", "-g", "65532", "/var/lib/turnout"]
COPY --from=build /opt/turnout /opt/turnout
COPY config/container/turnout.yaml /etc/turnout/turnout.yaml
ENV PATH=/opt/turnout/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1
# A number, so that Kubernetes can see that it is not root (runAsNonRoot).
USER 65532:65532
WORKDIR /var/lib/turnout
VOLUME ["/var/lib/turnout"]
# Clients; the admin API (on loopback, unless your configuration gives it tokens and another address).
EXPOSE 8080 9900
# SIGTERM drains within `timeouts.drain` (30s): give `docker stop` more time than that.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s --retries=3 CMD ["/opt/turnout/bin/turnout", "healthcheck"]
ENTRYPOINT ["/opt/turnout/bin/turnout"]
CMD ["run", "-c", "/etc/turnout/turnout.yaml"]
