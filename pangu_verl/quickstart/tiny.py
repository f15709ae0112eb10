"""A tiny language model and its tokenizer, made on the spot, for tests and for a look at the machinery in a minute.

Two layers over bytes, taught the format of an answer for some seconds so that its samples are sometimes right. It
shows that everything runs; it is not meant to get good.
"""

from __future__ import annotations

import random
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging

from pangu_verl.quickstart.problems import problems

_LESSON_ROWS = 1_024
_START, _END, _PAD = "<|im_start|>", "<|im_end|>", "<|pad|>"
_CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def make_tiny_model(folder: Path, *, seed: int = 0, lessons: int = 150) -> Path:
    """Write a Hugging Face model folder of about 200,000 parameters and return it."""
    logging.disable_progress_bar()
    tokenizer = _tokenizer()
    tokenizer.save_pretrained(folder)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=176,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        bos_token_id=tokenizer.convert_tokens_to_ids(_START),
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = LlamaForCausalLM(config)
    _teach_the_format(model, tokenizer, seed, lessons)
    model.save_pretrained(folder)
    return folder


def _tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level: every text has tokens, and the vocabulary equals the model's."""
    vocabulary = {symbol: index for index, symbol in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([_START, _END, _PAD])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=_START, eos_token=_END, pad_token=_PAD)
    fast.chat_template = _CHAT_TEMPLATE
    fast.model_max_length = 512
    return fast


def _teach_the_format(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, seed: int, lessons: int, rows_per_lesson: int = 32
) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    rows = list(problems("train", _LESSON_ROWS, seed))
    draw = random.Random(seed)
    for _ in range(lessons):
        texts, answers = [], []
        for row in draw.sample(rows, rows_per_lesson):
            prompt = tokenizer.apply_chat_template(row["prompt"], tokenize=False, add_generation_prompt=True)
            answer = str(row["reward_model"]["ground_truth"]) + _END  # type: ignore[index]
            texts.append(prompt + answer)
            answers.append(len(answer) - len(_END) + 1)
        batch = tokenizer(texts, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False)
        labels = torch.full_like(batch["input_ids"], -100)
        for row_labels, ids, length in zip(labels, batch["input_ids"], answers, strict=True):
            row_labels[-length:] = ids[-length:]
        loss = model(**{k: batch[k] for k in ("input_ids", "attention_mask")}, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
