"""The instruction-following reward: its verdicts, and rows that cannot be judged."""

from __future__ import annotations

import asyncio
from importlib.metadata import EntryPoint
from typing import Any

import pytest
from pangu_verl_ifeval.families import FAMILIES
from pangu_verl_ifeval.source import LONGEST_CHARACTERS, InstructionSource

from pangu_verl.plugins import Plugins
from pangu_verl.types import RewardRow, RewardSource, Verdict

NO_COMMA = {"id": "punctuation:no_comma"}
QUOTED = {"id": "startend:quotation"}
BULLETS = {"id": "detectable_format:number_bullet_lists", "num_bullets": 1}
ALL = [
    NO_COMMA,
    QUOTED,
    BULLETS,
    {"id": "keywords:existence", "keywords": ["word"]},
    {"id": "keywords:frequency", "keyword": "word", "frequency": 2, "relation": "at least"},
    {"id": "keywords:forbidden_words", "forbidden_words": ["word"]},
    {"id": "keywords:letter_frequency", "letter": "w", "let_frequency": 2, "let_relation": "at least"},
    {"id": "language:response_language", "language": "de"},
    {"id": "length_constraints:number_sentences", "num_sentences": 2, "relation": "at least"},
    {"id": "length_constraints:number_paragraphs", "num_paragraphs": 2},
    {"id": "length_constraints:number_words", "num_words": 2, "relation": "at least"},
    {
        "id": "length_constraints:nth_paragraph_first_word",
        "num_paragraphs": 2,
        "nth_paragraph": 1,
        "first_word": "word",
    },
    {"id": "detectable_content:number_placeholders", "num_placeholders": 2},
    {"id": "detectable_content:postscript", "postscript_marker": "P.S."},
    {"id": "detectable_format:constrained_response"},
    {"id": "detectable_format:number_highlighted_sections", "num_highlights": 2},
    {"id": "detectable_format:multiple_sections", "section_spliter": "Section", "num_sections": 2},
    {"id": "detectable_format:json_format"},
    {"id": "detectable_format:title"},
    {"id": "combination:two_responses"},
    {"id": "combination:repeat_prompt", "prompt_to_repeat": "word"},
    {"id": "startend:end_checker", "end_phrase": "word"},
    {"id": "change_case:capital_word_frequency", "capital_frequency": 2, "capital_relation": "at least"},
    {"id": "change_case:english_capital"},
    {"id": "change_case:english_lowercase"},
]


def judge(answer: str, checks: Any) -> Verdict:
    row = RewardRow(id="1", domain="instruction", question="", response=answer, answer=answer, checks=checks)
    return asyncio.run(InstructionSource().judge(row))


def refusal(*checks: Any) -> str:
    verdict = judge("fine", list(checks))
    assert (verdict.score, verdict.passed) == (None, None)
    return verdict.reason


def test_the_source_fits_the_interface() -> None:
    assert isinstance(InstructionSource(), RewardSource)


def test_the_package_registers_it_as_a_plugin() -> None:
    plugins = Plugins()
    plugins.load(EntryPoint("ifeval", "pangu_verl_ifeval.plugin", "pangu_verl"))
    plugins.require()
    assert plugins.reward_sources["ifeval"].domains == {"instruction"}


def test_the_score_is_the_share_of_checks_met_and_all_of_them_pass() -> None:
    verdict = judge('"fine"', [NO_COMMA, QUOTED])
    assert (verdict.score, verdict.passed, verdict.reason) == (1.0, True, "2 of 2 checks met")
    verdict = judge("one, two", [NO_COMMA, QUOTED, BULLETS, {"id": "keywords:existence", "keywords": ["two"]}])
    assert (verdict.score, verdict.passed) == (0.25, False)
    assert verdict.reason.endswith(
        "not met: punctuation:no_comma, startend:quotation, detectable_format:number_bullet_lists"
    )


@pytest.mark.parametrize(
    ("answer", "check"),
    [
        ('Sure:\n"quoted"', QUOTED),
        ('"quoted"\nBye', QUOTED),
        ('Sure:\n"quoted"\nBye', QUOTED),
        ('**"quoted"**', QUOTED),
        ("Well, sure:\nno comma", NO_COMMA),
    ],
)
def test_what_is_met_without_first_or_last_line_or_asterisks_is_loosely_met(answer: str, check: dict[str, Any]) -> None:
    verdict = judge(answer, [check])
    assert (verdict.score, verdict.passed) == (0.0, False)
    assert (verdict.details["loose_score"], verdict.details["loose_passed"]) == (1.0, True)
    assert verdict.details["checks"] == [{"id": check["id"], "met": False, "loosely_met": True}]


@pytest.mark.parametrize("answer", ["", " ", "\n\n"])
def test_an_empty_answer_meets_nothing(answer: str) -> None:
    verdict = judge(answer, [NO_COMMA])
    assert (verdict.score, verdict.passed, verdict.details["loose_passed"]) == (0.0, False, False)


def test_the_reasoning_is_not_read() -> None:
    row = RewardRow(
        id="1", domain="instruction", question="", response="<think>a, b</think>fine", answer="fine", checks=[NO_COMMA]
    )
    assert asyncio.run(InstructionSource().judge(row)).passed is True


# --- arguments -----------------------------------------------------------------------------------------------------------


def test_null_means_absent_and_whole_floats_and_tuples_are_taken() -> None:
    assert judge("- one", [{**BULLETS, "num_bullets": 1.0, "keywords": None}]).passed is True
    assert judge("one", [{"id": "keywords:existence", "keywords": ("one",)}]).passed is True


def test_an_unknown_id_is_named_with_the_near_one() -> None:
    assert refusal({"id": "punctuation:no_coma"}) == (
        "unknown instruction id 'punctuation:no_coma'; did you mean 'punctuation:no_comma'?"
    )
    assert refusal(NO_COMMA, {"id": "zzz"}) == "unknown instruction id 'zzz', expected one of the 25 of IFEval"


@pytest.mark.parametrize(
    ("check", "reason"),
    [
        ({**NO_COMMA, "extra": 1}, "punctuation:no_comma has no argument 'extra' (it has: none)"),
        ({"id": BULLETS["id"]}, "detectable_format:number_bullet_lists lacks the argument 'num_bullets'"),
        (
            {"id": "language:response_language", "language": "xx"},
            "language:response_language has language = 'xx', which is no known code",
        ),
        (
            {"id": "length_constraints:number_words", "num_words": 3, "relation": "about"},
            "length_constraints:number_words has relation = 'about', expected 'at least' or 'less than'",
        ),
        (
            {"id": "keywords:existence", "keywords": "one"},
            "keywords:existence has keywords = 'one', expected a list of texts, none of them empty",
        ),
        (
            {"id": "startend:end_checker", "end_phrase": " "},
            "startend:end_checker has end_phrase = ' ', expected a text that is not empty",
        ),
    ],
)
def test_a_wrong_argument_is_named_with_what_was_expected(check: dict[str, Any], reason: str) -> None:
    assert refusal(check) == reason


@pytest.mark.parametrize("number", [-1, 1.5, "3", True, [], float("nan"), float("inf")])
def test_a_number_that_is_none_is_refused(number: Any) -> None:
    assert "expected a whole number from 0 on" in refusal({**BULLETS, "num_bullets": number})


@pytest.mark.parametrize("keywords", [[], [""], [3], {"a": 1}, 7, ["a", None]])
def test_a_list_of_texts_that_is_none_is_refused(keywords: Any) -> None:
    assert "expected a list of texts" in refusal({"id": "keywords:existence", "keywords": keywords})


@pytest.mark.parametrize("check", [None, 3, "punctuation:no_comma", [], {}, {"id": None}, {"id": ["a"]}, {"name": "a"}])
def test_a_check_that_is_no_object_with_an_id_is_refused(check: Any) -> None:
    assert refusal(check).endswith("expected an object with the id of an instruction")


@pytest.mark.parametrize("checks", [None, 3, "punctuation:no_comma", NO_COMMA, b"bytes"])
def test_checks_that_are_no_list_are_refused(checks: Any) -> None:
    assert judge("fine", checks).reason.endswith("expected a list of objects")


def test_no_checks_and_too_many_are_refused() -> None:
    assert judge("fine", []).reason == "the row has no checks"
    assert judge("fine", [NO_COMMA] * 101).reason == "the row has 101 checks, at most 100 are taken"


@pytest.mark.parametrize("name", ["\0", "\ud800", "x" * 1_000_000])
def test_a_hostile_id_gives_a_short_reason_that_can_be_written(name: str) -> None:
    reason = refusal({"id": name})
    assert len(reason) < 300
    assert reason.encode()


# --- hostile answers -----------------------------------------------------------------------------------------------------


def test_there_is_a_check_of_every_family_here() -> None:
    assert {check["id"] for check in ALL} == set(FAMILIES)


PIECES = ["a", "[", "]", "<<", ">>", "*", "**", "***", "******", "* a\n", "\n", " ", "\t \n", "p. ", "p.s", "Section ", "Section 1", "{", "```", '"', "\0", "\ud800", "1. ", "A. ", "。", "é"]  # fmt: skip


@pytest.mark.parametrize("piece", PIECES)
def test_the_longest_answer_of_one_thing_is_judged_by_every_family(piece: str) -> None:
    verdict = judge(f"x{piece * ((LONGEST_CHARACTERS - 2) // len(piece))}x", ALL)
    assert verdict.passed is False
    assert len(verdict.details["checks"]) == 25


def test_a_longer_answer_is_not_judged() -> None:
    verdict = judge("a" * 1_000_000, ALL)
    assert (verdict.score, verdict.reason) == (None, "checks take 200000 characters; the answer has 1000000")
