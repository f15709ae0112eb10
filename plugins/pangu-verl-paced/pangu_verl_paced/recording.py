"""Records a rate curve: tokens/s of one request, by how many run beside it, of the text engine on this machine's CPU.

python -m pangu_verl_paced.recording MODEL_FOLDER --output rates.json

Invariant: every point is the median of several rounds on one loaded model, after a round that is not counted; where
the curve comes from stands beside it. Anything else that runs on the machine is measured with it.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import torch
from pangu_verl_cpu.text_engine import DECODING_ATTENTION, Sampling, TextEngine
from transformers import AutoModelForCausalLM

REQUESTS = (1, 2, 4, 8, 16)
NEW_TOKENS = 32
ROUNDS = 3
_PROMPT = list(range(10, 30))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    model = AutoModelForCausalLM.from_pretrained(
        arguments.model, dtype=torch.bfloat16, attn_implementation=DECODING_ATTENTION
    )
    load = psutil.getloadavg()[0]
    curve = record(model, REQUESTS, NEW_TOKENS, ROUNDS)
    source = (
        f"measured: the CPU text engine of pangu-verl-cpu, {arguments.model.name} in bfloat16, {NEW_TOKENS} tokens "
        f"a request, medians of {ROUNDS} rounds, {psutil.cpu_count()} cores ({platform.machine()}), load {load:.1f}"
    )
    arguments.output.write_text(json.dumps({"from": source, "tokens_per_s": curve}) + "\n")


def record(model: torch.nn.Module, requests: Sequence[int], new_tokens: int, rounds: int) -> list[tuple[int, float]]:
    """Pairs of requests that run and tokens/s of each of them."""
    engine = TextEngine(
        model, eos_token_ids=[], pad_token_id=0, max_rows=max(requests), max_prefill_tokens=4096, seed=0
    )
    try:
        _round_s(engine, max(requests), new_tokens)
        return [
            (
                number,
                round(new_tokens / statistics.median(_round_s(engine, number, new_tokens) for _ in range(rounds)), 2),
            )
            for number in requests
        ]
    finally:
        engine.close()


def _round_s(engine: TextEngine, number: int, new_tokens: int) -> float:
    began_s = time.perf_counter()
    for completion in [engine.submit(_PROMPT, Sampling(max_new_tokens=new_tokens), 0) for _ in range(number)]:
        completion.result()
    return time.perf_counter() - began_s


if __name__ == "__main__":
    main()
