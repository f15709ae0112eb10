# pangu_verl in verl's own image for NVIDIA cards. Written from the documentation of its parts; not built by us yet (see
# docker/README.md).
#
#   docker build --file docker/cuda.Dockerfile --tag pangu-verl:cuda .
#   docker run --rm --interactive --tty --gpus all --ipc host pangu-verl:cuda
#
# The image holds what verl 0.9.1 names for CUDA (vLLM 0.24.0, torch 2.11.0) and what it names and PyPI has no build of
# (flash-attn, Transformer Engine, apex), but not verl. vLLM's own image has neither these nor Megatron.
ARG BASE_TAG=vllm024.dev2
FROM verlai/verl:${BASE_TAG}
SHELL ["/bin/bash", "-o", "errexit", "-o", "pipefail", "-c"]

WORKDIR /opt/pangu_verl
COPY LICENSE README.md pyproject.toml ./
COPY pangu_verl pangu_verl
COPY docker/beside_vendor.py docker/beside_vendor.py
COPY examples/cuda examples/cuda

# What the image brings stays as it is, but for transformers and what goes with it: verl 0.9.1 asks for 5.5.3 or later,
# its extra `vllm` for 5.9.0. verl and pangu_verl come without their needs, which the image meets or the list names.
RUN pip list --format=freeze \
        | grep --invert-match --ignore-case --extended-regexp '^(transformers|tokenizers|hf[-_]xet|huggingface[-_]hub)=' \
        | grep --invert-match --ignore-case '^transferqueue=' | sort > /tmp/present.txt \
    && python3 docker/beside_vendor.py pyproject.toml torch transformers verl > /tmp/beside.txt \
    && pip install --no-cache-dir --constraint /tmp/present.txt --requirement /tmp/beside.txt transformers==5.9.0 \
    && pip install --no-cache-dir --no-deps verl==0.9.1 . \
    && test -z "$(pip list --format=freeze | sort | comm -23 /tmp/present.txt -)" \
    && rm /tmp/present.txt /tmp/beside.txt

RUN useradd --create-home trainer
USER trainer
WORKDIR /opt/pangu_verl/examples/cuda/grpo
CMD ["/bin/bash"]
