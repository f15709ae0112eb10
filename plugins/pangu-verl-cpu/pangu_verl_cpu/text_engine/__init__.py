"""Token-in, token-out generation on a CPU with continuous batching; needs torch and transformers, not verl or ray."""

from pangu_verl_cpu.text_engine.attention import DECODING_ATTENTION
from pangu_verl_cpu.text_engine.engine import TextEngine
from pangu_verl_cpu.text_engine.requests import Completion, EngineError, Sampling

__all__ = ["DECODING_ATTENTION", "Completion", "EngineError", "Sampling", "TextEngine"]
