# The images of the project, as `make training-image` and `make development-image` build them. They hold the locked packages
# and nothing of the project: a run brings its own code along. What it takes to reach the packages (addresses with
# passwords, certificates) is mounted while it is needed, as secrets, and is in no layer.

# Any image with bash, and pip for the project's version of Python; for development also with its venv, git and make.
ARG BASE_IMAGE=python:3.11-bookworm
FROM ${BASE_IMAGE} AS environment

ARG PYTHON_VERSION=3.11
RUN set -eu; \
    found=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
    if [ "$found" != "$PYTHON_VERSION" ]; then \
        echo "The base image holds Python $found, but the project is for Python $PYTHON_VERSION" >&2; exit 1; \
    fi; \
    python3 -m venv --without-pip /opt/environment; \
    useradd --uid 10001 --create-home researcher

# What is large and seldom changes comes first, in a layer of its own.
COPY torch.txt /opt/requirements/
RUN --mount=type=secret,id=torch --mount=type=secret,id=certificates --mount=type=secret,id=netrc \
    PIP_CONFIG_FILE=/run/secrets/torch NETRC=/run/secrets/netrc \
    python3 -m pip --python=/opt/environment/bin/python install --no-cache-dir --no-deps \
        --requirement=/opt/requirements/torch.txt

COPY packages.txt /opt/requirements/
RUN --mount=type=secret,id=pip --mount=type=secret,id=certificates --mount=type=secret,id=netrc \
    PIP_CONFIG_FILE=/run/secrets/pip NETRC=/run/secrets/netrc \
    python3 -m pip --python=/opt/environment/bin/python install --no-cache-dir --no-deps --require-hashes \
        --requirement=/opt/requirements/packages.txt


# What runs execute in.
FROM environment AS training

ENV PATH=/opt/environment/bin:$PATH
# By its number: from a name Kubernetes cannot tell that it is not root.
USER 10001
WORKDIR /home/researcher
CMD ["python"]


# What the project is developed in, with USE_DOCKER=1: also tests, checks and Poetry.
FROM environment AS development

COPY development.txt tools.txt /opt/requirements/
RUN --mount=type=secret,id=pip --mount=type=secret,id=certificates --mount=type=secret,id=netrc \
    set -eu; \
    python3 -m venv --without-pip /opt/tools; \
    for environment in environment:development tools:tools; do \
        PIP_CONFIG_FILE=/run/secrets/pip NETRC=/run/secrets/netrc \
        python3 -m pip --python="/opt/${environment%:*}/bin/python" install --no-cache-dir --no-deps --require-hashes \
            --requirement="/opt/requirements/${environment#*:}.txt"; \
    done

# Last, since it changes with every change of the lock: by it a container knows whether it is the project's own.
COPY lock.sha256 /opt/requirements/
ENV PATH=/opt/environment/bin:$PATH
USER 10001
WORKDIR /home/researcher
CMD ["bash"]
