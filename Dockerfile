# One file for every base that brings Python as python3, with its venv, and the system's certificates: Debian 12 itself
# serves as well as the official images. Nothing of the first stage but /opt/cdc is in the image.
ARG BASE=python:3.11-slim

FROM ${BASE} AS build

# Python's headers come with some bases and not with others.
RUN set -e; \
    header="$(python3 -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h"; \
    [ -e "$header" ] || headers=python3-dev; \
    apt-get update; \
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends gcc libc6-dev ${headers:-}

# Two environments: one with pip and Cython, which stays behind, and one with nothing but the connector. No byte code:
# it would be 7 MB to save 0.3 s at the start and nothing that `cdc health` could feel.
COPY requirements /build/requirements
RUN set -e; \
    python3 -m venv /build/tools; \
    python3 -m venv --without-pip /opt/cdc; \
    /build/tools/bin/pip install --no-cache-dir --only-binary :all: --require-hashes \
        --requirement /build/requirements/build.txt; \
    /build/tools/bin/pip --python /opt/cdc/bin/python3 install --no-cache-dir --no-compile --only-binary :all: \
        --require-hashes --requirement /build/requirements/image.txt; \
    rm -f /opt/cdc/bin/[Aa]ctivate* /opt/cdc/bin/dotenv

# The build ends here when a hot module did not become an extension.
COPY . /build/source
RUN set -e; \
    cd /build/source; \
    REQUIRE_CYTHON=1 /build/tools/bin/pip wheel --no-cache-dir --no-index --no-deps --no-build-isolation \
        --wheel-dir /build/wheel .; \
    /build/tools/bin/pip --python /opt/cdc/bin/python3 install --no-cache-dir --no-compile --no-index --no-deps \
        /build/wheel/*.whl; \
    find /opt/cdc -path '*/site-packages/cdc*' -name '*.so' -exec strip --strip-unneeded {} +; \
    export PYTHONDONTWRITEBYTECODE=1; \
    /opt/cdc/bin/cdc version; \
    /opt/cdc/bin/python3 -IB -c 'from cdc.build import build_name; build_name() == "compiled" or exit("a hot module is not compiled")'

FROM ${BASE}

# The number is fixed, for volumes and for runAsNonRoot; the name is for people.
RUN groupadd --gid 10001 cdc \
 && useradd --uid 10001 --gid 10001 --no-log-init --no-create-home --home-dir /var/lib/cdc --shell /usr/sbin/nologin cdc \
 && install --directory --owner 10001 --group 10001 --mode 0700 /var/lib/cdc

COPY --from=build /opt/cdc /opt/cdc
ENV PATH=/opt/cdc/bin:$PATH PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /var/lib/cdc
VOLUME ["/var/lib/cdc"]

# Ready or not, as of a connector that has its settings from the environment.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["cdc", "health"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["cdc"]
CMD ["run"]
LABEL org.opencontainers.image.title="cdc-connector" org.opencontainers.image.licenses="Apache-2.0"
