"""Lines of the audit trail: what is a verdict, and what is not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pangu_verl.report.verdicts import MOST_OPINIONS, parse_verdict


def test_a_whole_line_is_read(runs: Any) -> None:
    breakdown = {
        "maths": {"score": 1.0, "passed": True, "reason": "equal"},
        "format_gate": {"mode": "slow", "fault": None},
        "auxiliary": {"length": -0.25, "mode": "broken"},
    }
    opinions = [runs.opinion("maths", True), runs.opinion("judge", False, is_audit=True)]
    found = parse_verdict(runs.verdict("maths", True, score=0.75, opinions=opinions, breakdown=breakdown))
    assert found is not None
    assert (found.row, found.domain, found.counted.source) == ("7", "maths", "maths")
    assert (found.counted.score, found.correctness, found.gate_fault) == (0.75, 1.0, False)
    assert found.auxiliary == {"length": -0.25}
    assert [(said.source, said.passed, said.is_audit) for said in found.opinions] == [
        ("maths", True, False),
        ("judge", False, True),
    ]
    assert found.counted_position == 0


@pytest.mark.parametrize("opinions", [None, [], ...])
def test_a_verdict_without_opinions_stands_for_its_own(runs: Any, opinions: Any) -> None:
    found = parse_verdict(runs.verdict("maths", None, opinions=opinions))
    assert found is not None
    assert found.opinions == (found.counted,)


@pytest.mark.parametrize(
    "wrong",
    [
        {"source": ...},
        {"source": " "},
        {"source": 3},
        {"score": ...},
        {"score": "1"},
        {"score": True},
        {"score": 1.5},
        {"score": -0.1},
        {"score": float("nan")},
        {"passed": ...},
        {"passed": 1},
        {"opinions": "none"},
        {"opinions": [3]},
        {"opinions": [{}]},
        {"opinions": [{"source": "a", "score": 0.5, "passed": None}] * (MOST_OPINIONS + 1)},
    ],
)
def test_what_is_not_of_the_stated_shape_is_no_verdict(runs: Any, wrong: dict[str, Any]) -> None:
    assert parse_verdict(runs.verdict("maths", True, **wrong)) is None


@pytest.mark.parametrize("breakdown", [..., None, [], "x", {"maths": 3, "auxiliary": [], "format_gate": 0}])
def test_parts_that_cannot_be_read_are_unknown(runs: Any, breakdown: Any) -> None:
    found = parse_verdict(runs.verdict("maths", True, breakdown=breakdown))
    assert found is not None
    assert (found.correctness, found.gate_fault, found.auxiliary) == (None, None, {})


@pytest.mark.parametrize("seconds", [..., None, "1", -1.0, float("inf")])
def test_seconds_that_are_none_are_unknown(runs: Any, seconds: Any) -> None:
    found = parse_verdict(runs.verdict("maths", True, seconds=seconds))
    assert found is not None
    assert found.counted.seconds is None


def test_names_without_end_are_cut(runs: Any) -> None:
    endless = "x" * 100_000
    more = {"id": endless, "breakdown": {"auxiliary": {endless: 0.0}}}
    found = parse_verdict(runs.verdict(endless, True, endless, **more))
    assert found is not None
    names = (found.row, found.domain, found.counted.source, found.opinions[0].source, *found.auxiliary)
    assert all(len(name) == 81 for name in names)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
KEYS = ("id", "domain", "source", "score", "passed", "reason", "seconds", "opinions", "breakdown", "is_audit")
WHOLE = {"source": "a", "score": 0.5, "passed": None}
OPINION = st.dictionaries(st.sampled_from(KEYS), JSON, max_size=2).map(lambda wrong: {**WHOLE, **wrong})
LINE = st.builds(
    lambda line, opinions: {"opinions": opinions, **line}, OPINION, st.lists(OPINION, max_size=2) | st.just("none")
)


@given(LINE)
def test_no_content_raises_and_what_is_read_is_in_range(line: dict[str, Any]) -> None:
    found = parse_verdict(json.loads(json.dumps(line)))
    if found is not None:
        for said in (found.counted, *found.opinions):
            assert said.source
            assert said.score is None or 0.0 <= said.score <= 1.0
            assert said.seconds is None or said.seconds >= 0.0
