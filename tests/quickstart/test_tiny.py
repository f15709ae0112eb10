"""The model made on the spot: a tokenizer that fits it, the same for a seed, and taught no more than the format."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from pangu_verl.quickstart.problems import problems
from pangu_verl.quickstart.tiny import make_tiny_model

MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "What is 1 + 2?\nÄnd 🦙?"},
    {"role": "assistant", "content": "3"},
]


@pytest.fixture(scope="module")
def untaught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("tiny") / "model", lessons=0)


@pytest.fixture(scope="module")
def tokenizer(untaught: Path) -> Any:
    return AutoTokenizer.from_pretrained(untaught)


def weights(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def test_the_tokenizers_vocabulary_is_the_models(untaught: Path, tokenizer: Any) -> None:
    model = AutoModelForCausalLM.from_pretrained(untaught)
    assert len(tokenizer) == tokenizer.vocab_size + 3 == model.config.vocab_size
    assert model.get_input_embeddings().weight.shape[0] == len(tokenizer)
    assert sorted(tokenizer.get_vocab().values()) == list(range(len(tokenizer)))


def test_model_and_tokenizer_agree_on_the_special_tokens(untaught: Path, tokenizer: Any) -> None:
    config = json.loads((untaught / "config.json").read_text())
    assert (config["bos_token_id"], config["eos_token_id"], config["pad_token_id"]) == (
        tokenizer.bos_token_id,
        tokenizer.eos_token_id,
        tokenizer.pad_token_id,
    )
    assert len({tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id}) == 3


@settings(max_examples=100, deadline=None)
@given(text=st.text(max_size=60))
def test_every_text_has_tokens_and_comes_back(tokenizer: Any, text: str) -> None:
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    special = ("<|im_start|>", "<|im_end|>", "<|pad|>")
    if not any(token in text for token in special):
        assert len(ids) == len(text.encode())
    assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text


def test_the_chat_template_comes_back_whole(tokenizer: Any) -> None:
    written = tokenizer.apply_chat_template(MESSAGES, tokenize=False)
    assert written == (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        "<|im_start|>user\nWhat is 1 + 2?\nÄnd 🦙?<|im_end|>\n"
        "<|im_start|>assistant\n3<|im_end|>\n"
    )
    ids = tokenizer.apply_chat_template(MESSAGES, return_dict=True)["input_ids"]
    assert tokenizer.decode(ids) == written
    assert ids.count(tokenizer.eos_token_id) == 3


def test_the_template_opens_the_answer_where_it_is_asked_to(tokenizer: Any) -> None:
    asked = tokenizer.apply_chat_template(MESSAGES[:2], tokenize=False, add_generation_prompt=True)
    assert asked.endswith("<|im_end|>\n<|im_start|>assistant\n")
    assert tokenizer.apply_chat_template(MESSAGES, tokenize=False).startswith(asked)


def test_a_seed_gives_the_same_model_again(tmp_path: Path) -> None:
    first, again = (weights(make_tiny_model(tmp_path / name, seed=3, lessons=2)) for name in ("a", "b"))
    assert first == again


def test_another_seed_gives_another_model(tmp_path: Path, untaught: Path) -> None:
    assert weights(make_tiny_model(tmp_path / "other", seed=1, lessons=0)) != weights(untaught)


def test_the_model_is_tiny(untaught: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(untaught)
    assert model.num_parameters() < 250_000


def test_lessons_teach_the_format(tmp_path: Path, untaught: Path, tokenizer: Any) -> None:
    taught = make_tiny_model(tmp_path / "taught", lessons=10)
    assert answer_loss(taught, tokenizer) < 0.7 * answer_loss(untaught, tokenizer)


def answer_loss(folder: Path, tokenizer: Any) -> float:
    """Mean loss of right answers to validation problems."""
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    losses = []
    for row in problems("validation", 8, 0):
        prompt = tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True, return_dict=True)["input_ids"]
        answer = tokenizer(row["reward_model"]["ground_truth"] + "<|im_end|>", add_special_tokens=False)["input_ids"]  # type: ignore[index]
        labels = torch.tensor([[-100] * len(prompt) + answer])
        with torch.no_grad():
            losses.append(model(input_ids=torch.tensor([prompt + answer]), labels=labels).loss.item())
    return sum(losses) / len(losses)
