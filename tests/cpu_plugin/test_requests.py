"""Sampling parameters: what verl sends is read, what cannot be honoured is refused by name."""

from __future__ import annotations

from typing import Any

import pytest
from pangu_verl_cpu.text_engine import EngineError, Sampling


def read(**parameters: Any) -> Sampling:
    return Sampling.from_parameters(parameters, default_max_new_tokens=7)


def test_what_verl_sends_is_read() -> None:
    sampling = read(temperature=0.5, top_p=0.9, top_k=-1, repetition_penalty=1.0, logprobs=True, max_tokens=3)
    assert sampling == Sampling(max_new_tokens=3, temperature=0.5, top_p=0.9, top_k=-1, with_log_probs=True)


def test_no_parameters_mean_plain_sampling_up_to_the_default_length() -> None:
    assert read() == Sampling(max_new_tokens=7, temperature=1.0, top_p=1.0, top_k=0, with_log_probs=False)


@pytest.mark.parametrize(
    "name", ["temperature", "top_p", "top_k", "max_tokens", "logprobs", "repetition_penalty", "stop"]
)
def test_null_means_absent(name: str) -> None:
    assert read(**{name: None}) == read()


@pytest.mark.parametrize("name", ["max_tokens", "max_new_tokens"])
def test_both_names_of_the_limit_are_known(name: str) -> None:
    assert read(**{name: 5}).max_new_tokens == 5


def test_two_different_limits_are_refused() -> None:
    with pytest.raises(EngineError, match=r"max_tokens and max_new_tokens.*5 and 6"):
        read(max_tokens=5, max_new_tokens=6)


def test_the_given_parameters_are_left_alone() -> None:
    parameters = {"temperature": 0.5, "max_tokens": 3}
    Sampling.from_parameters(parameters, default_max_new_tokens=7)
    assert parameters == {"temperature": 0.5, "max_tokens": 3}


@pytest.mark.parametrize("name", ["min_p", "stop", "seed", "presence_penalty", "n"])
def test_an_unknown_parameter_is_refused_by_name(name: str) -> None:
    with pytest.raises(EngineError, match=f"unknown sampling parameter '{name}'"):
        read(**{name: 1})


def test_a_repetition_penalty_is_refused_by_name() -> None:
    with pytest.raises(EngineError, match=r"repetition_penalty=1\.1"):
        read(repetition_penalty=1.1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_tokens", 0),
        ("max_tokens", -3),
        ("max_tokens", 2.5),
        ("max_tokens", "many"),
        ("temperature", -0.1),
        ("temperature", float("nan")),
        ("temperature", float("inf")),
        ("temperature", 1e-20),
        ("temperature", "hot"),
        ("top_p", 0.0),
        ("top_p", 1.5),
        ("top_p", float("nan")),
        ("top_p", [0.5]),
        ("top_k", 2.5),
        ("top_k", float("inf")),
        ("logprobs", 5),
        ("logprobs", "yes"),
    ],
)
def test_an_impossible_value_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(EngineError, match=name):
        read(**{name: value})


@pytest.mark.parametrize(("logprobs", "wanted"), [(True, True), (False, False), (0, True), (1, True)])
def test_logprobs_is_a_wish_or_the_number_of_alternatives(logprobs: Any, wanted: bool) -> None:
    assert read(logprobs=logprobs).with_log_probs is wanted


def test_sampling_made_directly_is_checked_too() -> None:
    with pytest.raises(EngineError, match="max_tokens"):
        Sampling(max_new_tokens=0)
