# pangu_verl on a CPU, whole. Written from the documentation of its parts; not built by us yet (see docker/README.md).
#
#   docker build --file docker/cpu.Dockerfile --tag pangu-verl:cpu .
#   docker run --rm --shm-size 4g pangu-verl:cpu
ARG PYTHON_TAG=3.11-slim

FROM python:${PYTHON_TAG} AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends make \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/pangu_verl
COPY LICENSE Makefile README.md constraints.txt pyproject.toml ./
COPY plugins/pangu-verl-cpu plugins/pangu-verl-cpu
COPY pangu_verl pangu_verl
# PyTorch's build for a CPU; PyPI's brings 3 GB of CUDA.
RUN UV_TORCH_BACKEND=cpu make setup

FROM python:${PYTHON_TAG}
# The same path as in the build: the environment names it.
COPY --from=build /opt/pangu_verl /opt/pangu_verl
ENV PATH=/opt/pangu_verl/.venv/bin:$PATH
RUN useradd --create-home trainer
USER trainer
WORKDIR /home/trainer
CMD ["pangu-verl", "quickstart", "--model", "tiny"]
