"""What a configuration says of rewards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from judged_rows import always

from pangu_verl.errors import WrongUse
from pangu_verl.mars.settings import read_measurements, reward_settings
from pangu_verl.types import RewardRow, Verdict

SOURCES = {name: always(name, True) for name in ("maths", "verifier")}
RATE = {
    "source": "maths",
    "domain": "math",
    "claim": "reject",
    "origin": "gold",
    "audited": 100,
    "wrong": 40,
    "low": 0.3,
    "high": 0.5,
}


@pytest.mark.parametrize("found", [None, {}])
def test_nothing_said_is_the_defaults(found: object) -> None:
    assert reward_settings(found).ladders({"maths": SOURCES["maths"]})["math"].rungs == (SOURCES["maths"],)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("unjudged_limit", 1.5),
        ("unjudged_limit", -0.1),
        ("unjudged_limit", "half"),
        ("unjudged_limit", True),
        ("unjudged_limit", float("nan")),
        ("unjudged_window_rows", 0),
        ("unjudged_window_rows", 2.5),
        ("audit_share", 2),
        ("tolerated_error_rate", 0),
        ("tolerated_error_rate", 1),
        ("timeout_s", 0),
        ("timeout_s", "soon"),
        ("sources", "maths"),
        ("sources", [3]),
        ("options", {"maths": 3}),
        ("budgets", {"maths": "all"}),
    ],
)
def test_a_value_that_means_nothing_is_refused_by_its_key(key: str, value: Any) -> None:
    with pytest.raises(WrongUse, match=rf"^pangu\.rewards\.{key}[.\w]*: .*; pangu-verl train --explain pangu\.rewards"):
        reward_settings({key: value})


def test_a_misspelt_key_is_answered_with_those_that_are_known() -> None:
    with pytest.raises(WrongUse, match=r"pangu\.rewards\.source: .*known: sources, options"):
        reward_settings({"source": ["maths"]})


@pytest.mark.parametrize(
    ("budgets", "complaint"),
    [({"mth": 0.5}, "budgets: there is no reward source 'mth'"), ({"verifier": 1.5}, r"budgets\.verifier takes a sh")],
)
def test_a_budget_that_means_nothing_is_refused(budgets: dict[str, float], complaint: str) -> None:
    with pytest.raises(WrongUse, match=complaint):
        reward_settings({"sources": ["maths", "verifier"], "budgets": budgets}).ladders(SOURCES)


class Bonus:
    def __init__(self, name: str) -> None:
        self.name = name

    def apply(self, row: RewardRow, verdict: Verdict) -> float:
        return 0.0


TERMS = {name: Bonus(name) for name in ("repetition", "length")}


@pytest.mark.parametrize(("chosen", "applied"), [(None, ["repetition", "length"]), ([], []), (["length"], ["length"])])
def test_terms_that_are_chosen_apply(chosen: list[str] | None, applied: list[str]) -> None:
    assert [term.name for term in reward_settings({"terms": chosen}).chosen_terms(TERMS)] == applied


def test_a_term_that_does_not_exist_is_named() -> None:
    with pytest.raises(WrongUse, match=r"pangu\.rewards\.terms: .* 'lenght' \(registered: repetition, length\)"):
        reward_settings({"terms": ["lenght"]}).chosen_terms(TERMS)


def test_a_window_too_small_to_trust_again_is_refused_with_the_one_that_is_enough() -> None:
    with pytest.raises(WrongUse, match=r"audit_window_rows: 100 audits .*; set it to 117 or more"):
        reward_settings({"audit_window_rows": 100}).state()
    reward_settings({"audit_window_rows": 117}).state()


def test_measurements_are_where_a_run_begins(tmp_path: Path) -> None:
    file = tmp_path / "measured.json"
    file.write_text(json.dumps({"rates": [RATE]}))
    state = reward_settings({"measurements": str(file)}).state()
    assert state.shared.escalated("maths", "math") == {"reject"}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff",
        b"{}",
        b'{"rates": 3}',
        b'{"rates": [{}]}',
        json.dumps({"rates": [{**RATE, "claim": "maybe"}]}).encode(),
        json.dumps({"rates": [{**RATE, "wrong": 101}]}).encode(),
        json.dumps({"rates": [{**RATE, "origin": "audit"}]}).encode(),
        json.dumps({"rates": [{**RATE, "claim": "accept"}]}).encode(),
        json.dumps({"rates": [{**RATE, "wrong": -1}]}).encode(),
        b"[" * 100_000,
    ],
)
def test_measurements_that_are_none_are_named_with_their_file(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "measured.json"
    file.write_bytes(content)
    with pytest.raises(WrongUse, match=r"measured\.json"):
        read_measurements(file)


def test_missing_measurements_are_named(tmp_path: Path) -> None:
    with pytest.raises(WrongUse, match=r"pangu\.rewards\.measurements: .*absent\.json cannot be read"):
        read_measurements(tmp_path / "absent.json")
