# pangu_verl in verl's own image for Ascend. Written from the documentation of its parts; not built by us yet (see
# docker/README.md).
#
#   docker build --file docker/ascend.Dockerfile --tag pangu-verl:ascend .
#
# The default is for Atlas A2 (910B). For A3 write a3 in the place of 910b:
#   --build-arg BASE_TAG=v0.9.1-cann9.1.0-torch_npu2.10.0.post4-a3-ubuntu22.04-py3.12-vllm
ARG BASE_TAG=v0.9.1-cann9.1.0-torch_npu2.10.0.post4-910b-ubuntu22.04-py3.12-vllm
FROM quay.io/ascend/verl:${BASE_TAG}
SHELL ["/bin/bash", "-o", "errexit", "-o", "pipefail", "-c"]

WORKDIR /opt/pangu_verl
COPY LICENSE README.md pyproject.toml ./
COPY pangu_verl pangu_verl
COPY docker/beside_vendor.py docker/beside_vendor.py
COPY examples/ascend examples/ascend

# CANN, torch_npu, vLLM-Ascend and MindSpeed fit one another in exactly these versions: all that is there stays, and the
# last line sees to it. pangu_verl comes without its needs, because pip cannot meet them as they are written: the image
# has numpy below 2 (verl's requirements-npu.txt) and the metadata of verl asks for 2 or later. TransferQueue is the one
# exception: verl 0.9.1 needs 0.1.10, and it is plain Python.
RUN pip list --format=freeze | grep --invert-match --ignore-case '^transferqueue=' | sort > /tmp/present.txt \
    && python3 docker/beside_vendor.py pyproject.toml torch transformers transferqueue verl > /tmp/beside.txt \
    && pip install --no-cache-dir --constraint /tmp/present.txt --requirement /tmp/beside.txt \
    && pip install --no-cache-dir --no-deps 'TransferQueue>=0.1.10,<0.2' . \
    && test -z "$(pip list --format=freeze | sort | comm -23 /tmp/present.txt -)" \
    && rm /tmp/present.txt /tmp/beside.txt

# The user stays the image's own, root: the devices belong to a group of the host that the image cannot know.
WORKDIR /opt/pangu_verl/examples/ascend/grpo
CMD ["/bin/bash"]
